"""The ablation's stages: what is held out, what is learned from, what is measured."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from arriero.data.shards import Shard
from arriero.model.attention_variants import attention_variants, cache_bytes
from arriero.model.config import ModelConfig
from arriero.records import UserError
from arriero.stages import ablation
from arriero.stages.ablation import AblationConfig
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.workspace import Workspace
from arriero.training.optimizer import OptimizerConfig

from .conftest import WORDS, NewWorkspace, metrics, results

CONTEXT = 32
CONFIG = AblationConfig(
    seeds=1, num_tokens=12 * 128, held_out=10, contexts=(168, 200), max_batch=4, memory_gib=1.0
)
PRETRAIN = PretrainConfig(
    tokens_per_step=128,
    row_length=16,
    micro_rows=4,
    checkpoint_every=5,
    precision="float32",
    optimizer=OptimizerConfig(peak=1e-2, warmup_steps=2),
)
BASE = ModelConfig(
    vocab_size=320,
    dim=32,
    num_layers=1,
    num_heads=16,
    num_kv_heads=16,
    ffn_dim=48,
    context=CONTEXT,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Long documents and short ones, all different."""
    draw = random.Random(0)
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = [
        {"text": " ".join(draw.choices(WORDS, k=80 if number % 2 else 3))} for number in range(160)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepare(corpus: Path, tokenizer: Path, space: Workspace, context: int = CONTEXT) -> None:
    ablation.prepare(
        CONFIG, corpus=[corpus], tokenizer_folder=tokenizer, context=context, workspace=space
    )


def train(prepared: Workspace, shape: ModelConfig, space: Workspace) -> None:
    ablation.train_variant(
        CONFIG,
        PRETRAIN,
        model_config=shape,
        context=CONTEXT,
        corpus=prepared.folder,
        workspace=space,
    )


@pytest.fixture
def prepared(corpus: Path, chat_folder: Path, workspace: NewWorkspace) -> Workspace:
    space = workspace("corpus")
    prepare(corpus, chat_folder, space)
    return space


def documents(prepared: Workspace) -> list[list[int]]:
    shard = Shard(prepared.folder / "shard", CONTEXT)
    starts = [*np.load(prepared.folder / "shard" / "starts.npy").tolist(), len(shard.tokens)]
    return [shard.tokens[a:b].tolist() for a, b in itertools.pairwise(starts)]


def seen(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Fills with the (target, position, segment) triples of every batch that is learned from."""
    batches: list[torch.Tensor] = []
    real = ablation.packed_loss_sum

    def spied(model: Any, batch: Any, device: torch.device) -> torch.Tensor:
        batches.append(torch.stack([batch.targets, batch.loss_mask, batch.positions]).flatten(1))
        return real(model, batch, device)

    monkeypatch.setattr(ablation, "packed_loss_sum", spied)
    return batches


def test_what_is_held_out(prepared: Workspace) -> None:
    texts = documents(prepared)
    held_out = json.loads((prepared.folder / "held-out.json").read_text())
    assert len(held_out["long"]) >= 8
    assert len(held_out["short"]) == 10
    assert all(len(texts[number]) > CONTEXT for number in held_out["long"])
    assert all(len(texts[number]) <= CONTEXT // 2 for number in held_out["short"])
    total = sum(map(len, texts))
    assert sum(len(texts[number]) for number in held_out["long"]) <= total / 10


def test_no_model_learns_from_what_is_held_out(
    prepared: Workspace, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = seen(monkeypatch)
    # More tokens than the corpus has: every training row is seen.
    config = CONFIG.model_copy(update={"num_tokens": 30_000})
    ablation.train_variant(
        config,
        PRETRAIN,
        model_config=BASE,
        context=CONTEXT,
        corpus=prepared.folder,
        workspace=workspace("mha"),
    )
    rows = {tuple(row.tolist()) for batch in batches for row in batch[0].view(-1, CONTEXT)}
    shard = Shard(prepared.folder / "shard", CONTEXT)
    held_out = json.loads((prepared.folder / "held-out.json").read_text())
    starts = [*np.load(prepared.folder / "shard" / "starts.npy").tolist(), len(shard.tokens)]
    hidden = {
        token // CONTEXT
        for number in (*held_out["long"], *held_out["short"])
        for token in range(starts[number], starts[number + 1])
    }
    assert len(rows) == shard.num_rows - len([row for row in hidden if row < shard.num_rows])
    learned = {tuple(row.tolist()) for row in shard.batch(range(shard.num_rows)).targets} & rows
    kept = [row for row in range(shard.num_rows) if row not in hidden]
    assert learned == {tuple(shard.batch([row]).targets[0].tolist()) for row in kept}
    assert results(prepared)["training_tokens"] == len(kept) * CONTEXT


def test_both_contexts_learn_from_the_same_tokens_in_the_same_steps(
    prepared: Workspace, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = seen(monkeypatch)
    train(prepared, BASE, workspace("whole"))
    whole = list(batches)
    batches.clear()
    train(prepared, BASE.model_copy(update={"context": CONTEXT // 2}), workspace("half"))
    for name in ("whole", "half"):
        assert len(metrics(workspace(name))) == 12
    assert len(whole) == len(batches)
    for first, second in zip(whole, batches, strict=True):
        assert torch.equal(first[:2], second[:2])  # targets, and which of them count
    furthest = [int(torch.cat(found, 1)[2].max()) for found in (whole, batches)]
    assert furthest == [CONTEXT - 1, CONTEXT // 2 - 1]


def test_what_is_measured(prepared: Workspace, workspace: NewWorkspace) -> None:
    shapes = attention_variants(BASE)
    for name, shape in shapes.items():
        space = workspace(name)
        train(prepared, shape, space)
        found, lines = results(space), metrics(space)
        assert found["parameters"] == shape.num_parameters
        assert found["tokens"] == 12 * 128
        assert lines[-1]["loss"] < lines[0]["loss"] - 1
        assert len(found["by_position"]) == 8
        assert found["long_loss"] == pytest.approx(sum(found["by_position"]) / 8, rel=1e-5)
        # Words are drawn at random: no model is better than their entropy.
        assert 1.0 < found["long_loss"] < lines[0]["loss"]
        assert 0.5 < found["short_loss"] < lines[0]["loss"]


def test_the_same_seed_gives_the_same_losses_and_another_does_not(
    prepared: Workspace, workspace: NewWorkspace
) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        space = workspace(name, seed)
        train(prepared, BASE, space)
        found.append(results(space))
    assert found[0] == found[1]
    assert found[0]["long_loss"] != found[2]["long_loss"]


def test_without_short_documents_the_beginnings_of_long_ones_count(
    tmp_path: Path, chat_folder: Path, workspace: NewWorkspace
) -> None:
    draw = random.Random(0)
    path = tmp_path / "long.jsonl"
    texts = [" ".join(draw.choices(WORDS, k=80)) for _ in range(150)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    space = workspace("corpus")
    prepare(path, chat_folder, space)
    assert results(space)["held_out"]["short"] == 0
    train(space, BASE, workspace("mha"))
    found = results(workspace("mha"))
    assert found["short_loss"] == pytest.approx(sum(found["by_position"][:4]) / 4, rel=1e-4)


def test_too_few_long_documents(tmp_path: Path, chat_folder: Path, workspace: NewWorkspace) -> None:
    path = tmp_path / "short.jsonl"
    path.write_text("".join(json.dumps({"text": f"salt {n}"}) + "\n" for n in range(60)))
    with pytest.raises(UserError, match=r"^0 of 60 documents are longer than the context of 32"):
        prepare(path, chat_folder, workspace("corpus"))


def test_a_context_that_cannot_be_halved(
    corpus: Path, chat_folder: Path, workspace: NewWorkspace
) -> None:
    with pytest.raises(UserError, match=r"context of 40 .*say --pretrain\.row_length 32"):
        prepare(corpus, chat_folder, workspace("corpus"), context=40)


def test_speeds_and_where_memory_ends(workspace: NewWorkspace) -> None:
    shapes = attention_variants(BASE)
    # One sequence of 200 tokens takes 51 kB with 16 heads: two fit beside the weights, four don't.
    weights = BASE.num_parameters * 4
    room = weights + 2.5 * cache_bytes(shapes["mha"], 1, 200, 4)
    config = CONFIG.model_copy(update={"memory_gib": room / 2**30})
    space = workspace("decoding")
    ablation.measure_decoding(config, shapes, space)
    found = results(space)
    assert len(found["points"]) == 2 * 3 * 3  # contexts; batches 1, 2, 4; variants
    for point in found["points"]:
        shape = shapes[point["variant"]]
        size = cache_bytes(shape, point["batch"], point["context"], 4)
        assert point["cache_bytes"] == size
        assert (point["tokens_per_s"] is not None) == (shape.num_parameters * 4 + size <= room)
        if point["tokens_per_s"]:
            assert len(point["tokens_per_s"]) == 5
            assert min(point["tokens_per_s"]) > 0
    missing = {p["variant"] for p in found["points"] if p["tokens_per_s"] is None}
    assert missing == {"mha"}
