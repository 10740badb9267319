"""Which rows of the corpus pretraining reads, and which it keeps back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from arriero.data.batches import micro_batches
from arriero.data.mixing import Corpus, apportion
from arriero.data.packing import PackedBatch
from arriero.stages.pretrain_config import PretrainConfig

_OPENINGS = 4
_OPENING_TOKENS = 12


def held_out_rows(config: PretrainConfig, corpus: Corpus) -> list[list[int]]:
    """The rows at the end of each source that training never sees; none where it has but one.

    Together they are a sample of what is trained on: sources share them by their weights, but none
    gives more than `valid_share` of itself, and each one at least.
    """
    sizes = [shard.num_rows for shard in corpus.shards]
    wanted = min(config.max_valid_rows, max(1, int(sum(sizes) * config.valid_share)))
    counts = [
        min(max(1, min(share, int(size * config.valid_share))), size - 1)
        for share, size in zip(apportion(corpus.weights, wanted), sizes, strict=True)
    ]
    return [
        list(range(first + size - count, first + size))
        for first, size, count in zip(corpus.firsts, sizes, counts, strict=True)
    ]


def reading(config: PretrainConfig, corpus: Corpus) -> list[dict[str, Any]]:
    """How often and in which share each source is read by the end, beside its weight's share."""
    num_rows = config.num_steps * config.rows_per_step
    facts: list[dict[str, Any]] = []
    for name, weight, shard, read, held_out in zip(
        corpus.names,
        corpus.weights,
        corpus.shards,
        apportion(corpus.weights, num_rows),
        held_out_rows(config, corpus),
        strict=True,
    ):
        num_train = shard.num_rows - len(held_out)
        facts.append(
            {
                "name": name,
                "target_share": weight / sum(corpus.weights),
                "share": read / max(1, num_rows),
                "tokens": read * config.row_length,
                "epochs": read / num_train,
                "corpus_tokens": len(shard.tokens),
                "documents": shard.num_documents,
                "train_rows": num_train,
                "held_out_rows": len(held_out),
            }
        )
    return facts


def in_batches(corpus: Corpus, rows: Sequence[int], at_once: int) -> list[PackedBatch]:
    """Rows in the batches that go through a model."""
    return [corpus.batch(plan) for plan in micro_batches(rows, at_once)]


def openings_of(corpus: Corpus, held_out: Sequence[Sequence[int]]) -> list[list[int]]:
    """A few passages that training never sees, of as many sources as can be, as ids.

    A row gives several where there are few of them; without any there are none.
    """
    rows = [row for of_each in zip_longest(*held_out) for row in of_each if row is not None]
    rows = rows[:_OPENINGS]
    if not rows:
        return []
    tokens = corpus.batch(rows).tokens
    step = tokens.shape[1] // -(-_OPENINGS // len(rows))
    openings: list[list[int]] = []
    for number in range(_OPENINGS):
        place, row = divmod(number, len(rows))
        openings.append(tokens[row, place * step : place * step + _OPENING_TOKENS].tolist())
    return openings
