"""Stage `ablate`: models that differ in one thing learn from the same tokens (A.2.1).

Departure: the paper's models are of 30B parameters and learn from 150B tokens, once; here they are
as small as the recipe's, and each is trained from several seeds, so that the spread is known.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.data.packing import PackedBatch
from arriero.data.shards import Shard, row_order
from arriero.evaluation.decoding import decode_rates
from arriero.evaluation.positions import bucket_means, padded, token_losses
from arriero.model.attention_variants import GIB, cache_bytes, fits
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.records import UserError
from arriero.stages.corpus import SHARD, tokenise
from arriero.stages.fitting import autocast, fit
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.token_loss import packed_loss_sum
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer
from arriero.training.meters import TimeLeft

NUM_BUCKETS = 8
_LEAST_DOCUMENTS = 8
_LEAST_TARGETS = 8
_MOST_HELD_OUT = 0.1


class AblationConfig(BaseModel):
    """How much is trained and measured; what is not here comes from the recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int = Field(default=1, gt=0, description="trainings of each model; the paper: 1")
    num_tokens: int = Field(
        default=150_000_000_000, gt=0, description="tokens that each model learns from; 150B"
    )
    num_heads: int = Field(
        default=0, ge=0, description="query heads, a multiple of 8 above 8; 0 takes the model's"
    )
    ffn_multiple: int = Field(
        default=8, gt=0, description="the feed-forward width grows in steps of so many"
    )
    held_out: int = Field(default=256, gt=0, description="held-out documents, long and short each")
    contexts: tuple[int, ...] = Field(
        default=(256, 2048), min_length=1, description="contexts to decode at; 256 and 2,048"
    )
    max_batch: int = Field(default=1024, gt=0, description="most sequences to decode at; 1,024")
    memory_gib: float = Field(
        default=1.0, gt=0, description="GiB that weights and cache may take; the paper: 8 x 80"
    )
    repeats: int = Field(default=5, ge=5, description="timings of each speed; the median counts")
    reward_shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.125, 0.25, 0.5, 1.0),
        min_length=1,
        description="parts of the comparisons that reward models of each size learn from",
    )
    reward_widths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.5, 1.0),
        min_length=1,
        description="widths of the reward models, in widths of the recipe's; the paper: 7B to 70B",
    )


def prepare(
    config: AblationConfig,
    *,
    corpus: Sequence[Path],
    tokenizer_folder: Path,
    context: int,
    workspace: Workspace,
) -> None:
    """Tokenise the corpus into `folder/shard` and choose documents that no model will learn from.

    `held-out.json` names them: `long` ones fill the context, `short` ones half of it at most.

    Raises:
        UserError: the context is no multiple of 16, or fewer than 8 documents are longer than it.
    """
    if context % (2 * NUM_BUCKETS):
        raise UserError(
            f"a context of {context} cannot be halved and cut into {NUM_BUCKETS}; "
            f"say --pretrain.row_length {max(1, context // 16) * 16}"
        )
    folder = workspace.folder / SHARD
    tokenise(corpus, (), load_tokenizer(tokenizer_folder), workspace)
    shard = Shard(folder, context)
    starts, ends = _borders(folder, shard)
    lengths = ends - starts
    is_long = lengths > context
    is_short = (lengths <= context // 2) & (lengths > _LEAST_TARGETS)
    held_out = {
        "long": _drawn(np.flatnonzero(is_long), lengths, config.held_out, workspace.seed),
        "short": _drawn(np.flatnonzero(is_short), lengths, config.held_out, workspace.seed),
    }
    if len(held_out["long"]) < _LEAST_DOCUMENTS:
        raise UserError(
            f"{is_long.sum()} of {len(lengths):,} documents are longer than the context of "
            f"{context} tokens, too few to hold {_LEAST_DOCUMENTS} out; name longer documents, "
            "more of them, or a smaller --pretrain.row_length"
        )
    num_rows = len(_training_rows(folder, shard, held_out))
    if not num_rows:
        raise UserError("the corpus leaves nothing to learn from beside what is held out")
    workspace.say(
        f"{len(shard.tokens):,} tokens; held out: {len(held_out['long'])} documents of more than "
        f"{context} tokens, {len(held_out['short'])} of at most {context // 2}"
    )
    (workspace.folder / "held-out.json").write_text(json.dumps(held_out) + "\n", encoding="utf-8")
    workspace.write_results(
        {
            "tokens": len(shard.tokens),
            "documents": len(lengths),
            "training_tokens": num_rows * context,
            "held_out": {name: len(chosen) for name, chosen in held_out.items()},
        }
    )


def train_variant(
    config: AblationConfig,
    pretrain: PretrainConfig,
    *,
    model_config: ModelConfig,
    context: int,
    corpus: Path,
    workspace: Workspace,
) -> None:
    """Train one model, and measure its loss on the held-out documents by position.

    All variants of a seed read the same tokens in the same order, whatever their context: rows of
    `context` tokens, which a model of half of it reads in halves.

    Args:
        model_config: the variant; its own context is `context` or half of it.
        context: tokens of a row, and of a long document.
        corpus: the folder that `prepare` wrote.
    """
    length = model_config.context
    parts = context // length
    held_out = json.loads((corpus / "held-out.json").read_text(encoding="utf-8"))
    shard = Shard(corpus / "shard", length)
    rows = _training_rows(corpus / "shard", Shard(corpus / "shard", context), held_out)
    rows_per_step = max(1, pretrain.tokens_per_step // context)
    num_steps = max(1, config.num_tokens // (rows_per_step * context))
    micro_rows = max(1, pretrain.micro_rows * pretrain.row_length // length)
    optimizer = pretrain.optimizer
    # Short runs must reach their peak too.
    warmup_steps = min(optimizer.warmup_steps, num_steps // 5)
    model = LanguageModel.fresh(model_config, workspace.seed).to(workspace.device)

    def micro_batches(step: int) -> list[PackedBatch]:
        chosen = row_order(len(rows), rows_per_step, step, workspace.seed)
        halves = [int(rows[row]) * parts + part for row in chosen for part in range(parts)]
        return [shard.batch(halves[i : i + micro_rows]) for i in range(0, len(halves), micro_rows)]

    def loss_sum(batch: PackedBatch) -> Tensor:
        with autocast(pretrain.precision, workspace.device):
            return packed_loss_sum(model, batch, workspace.device)

    for report, meter in fit(
        model,
        optimizer.model_copy(update={"warmup_steps": warmup_steps}),
        workspace,
        num_steps=num_steps,
        checkpoint_every=pretrain.checkpoint_every,
        micro_batches=micro_batches,
        loss_sum=loss_sum,
        num_items=lambda batch: batch.num_targets,
        unit="tokens",
    ):
        meter.record(report)
    long, short = _held_out_tokens(corpus / "shard", shard, held_out, context)
    losses = token_losses(model, long, length, length // 4)
    ids, counted = padded(short or [row[: context // 2 + 1] for row in long.tolist()])
    short_losses = token_losses(model, ids, length, length)[counted]
    workspace.write_results(
        {
            "parameters": model_config.num_parameters,
            "context": length,
            "tokens": num_steps * rows_per_step * context,
            "long_loss": float(losses.mean()),
            "short_loss": float(short_losses.mean()),
            "by_position": bucket_means(losses, NUM_BUCKETS),
        }
    )


def measure_decoding(
    config: AblationConfig, variants: Mapping[str, ModelConfig], workspace: Workspace
) -> None:
    """Time each variant at every batch, doubled from 1, and every context, where memory allows.

    The weights are new: what a model has learned does not change its speed.

    Raises:
        UserError: the smallest context has no room for the windows that are timed.
    """
    device = workspace.device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    size = dtype.itemsize
    budget = config.memory_gib * GIB
    shapes = {
        name: shape.model_copy(update={"context": max(*config.contexts, shape.context)})
        for name, shape in variants.items()
    }
    models = {
        name: LanguageModel.fresh(shape, workspace.seed).to(device, dtype)
        for name, shape in shapes.items()
    }
    batches = [2**power for power in range(config.max_batch.bit_length())]
    places = [(context, batch) for context in config.contexts for batch in batches]
    points: list[dict[str, Any]] = []
    left = TimeLeft(sum(batch for _, batch in places))
    for number, (context, batch) in enumerate(places):
        fitting = {
            name: model
            for name, model in models.items()
            if fits(shapes[name], batch, context, budget, size)
        }
        rates = decode_rates(fitting, batch, context, config.repeats) if fitting else {}
        points += [
            {
                "variant": name,
                "context": context,
                "batch": batch,
                "cache_bytes": cache_bytes(shape, batch, context, size),
                "tokens_per_s": sorted(rates[name]) if name in rates else None,
            }
            for name, shape in shapes.items()
        ]
        done = sum(batch for _, batch in places[: number + 1])
        speeds = ", ".join(f"{name} {_median(rates[name]):,.0f}" for name in rates) or "none fits"
        workspace.say(f"context {context}, batch {batch}: {speeds} tokens/s, {left.after(done)}")
    weights = {name: shape.num_parameters * size for name, shape in shapes.items()}
    workspace.write_results(
        {
            "points": points,
            "bytes_per_value": size,
            "weights_bytes": weights,
            "memory_gib": config.memory_gib,
            "repeats": config.repeats,
            "device": device.type,
            "threads": torch.get_num_threads(),
        }
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _borders(folder: Path, shard: Shard) -> tuple[Any, Any]:
    """Where each document starts and ends in the shard."""
    starts = np.load(folder / "starts.npy")
    return starts, np.append(starts[1:], len(shard.tokens))


def _drawn(candidates: Any, lengths: Any, count: int, seed: int) -> list[int]:
    """Some of the candidates, of no more than a tenth of the corpus together."""
    order = [int(candidate) for candidate in candidates]
    random.Random(f"held-out/{seed}").shuffle(order)
    room = _MOST_HELD_OUT * float(lengths.sum())
    chosen: list[int] = []
    for document in order[:count]:
        room -= float(lengths[document])
        if room < 0:
            break
        chosen.append(document)
    return sorted(chosen)


def _training_rows(folder: Path, shard: Shard, held_out: Mapping[str, Sequence[int]]) -> Any:
    """The rows that touch no held-out document."""
    starts, ends = _borders(folder, shard)
    is_free = np.ones(shard.num_rows, np.bool_)
    for document in (*held_out["long"], *held_out["short"]):
        first, last = starts[document], ends[document] - 1
        is_free[first // shard.row_length : last // shard.row_length + 1] = False
    return np.flatnonzero(is_free)


def _held_out_tokens(
    folder: Path, shard: Shard, held_out: Mapping[str, Sequence[int]], context: int
) -> tuple[Tensor, list[list[int]]]:
    """The first `context` + 1 tokens of the long documents, and the short documents."""
    starts, ends = _borders(folder, shard)
    long = [shard.tokens[starts[d] : starts[d] + context + 1] for d in held_out["long"]]
    short = [shard.tokens[starts[d] : ends[d]].tolist() for d in held_out["short"]]
    return torch.from_numpy(np.stack(long).astype(np.int64)), short
