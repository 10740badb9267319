"""Pretraining: it learns, holds its last rows out, and goes on where it was stopped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from arriero.data.packing import PackedBatch, pack
from arriero.data.shards import Shard
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import UserError
from arriero.stages import pretrain
from arriero.stages.pretrain import PretrainConfig, mean_loss
from arriero.stages.workspace import Workspace
from arriero.tokenizer import load_tokenizer
from arriero.training.optimizer import OptimizerConfig

from .conftest import CONFIG, WORDS, NewWorkspace, metrics, results, same_weights

SMALL = PretrainConfig(
    num_tokens=20 * 128,
    tokens_per_step=128,
    row_length=32,
    micro_rows=2,
    valid_share=0.1,
    max_valid_rows=3,
    valid_every=8,
    checkpoint_every=5,
    precision="float32",
    optimizer=OptimizerConfig(peak=1e-2, warmup_steps=2),
)
CPU = torch.device("cpu")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Documents full of their own number, so that no two rows are the same."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n:02}.txt").write_text(" ".join(f"{word} {n}" for word in WORDS))
    return folder


def train(corpus: Path, tokenizer: Path, space: Workspace, **changes: Any) -> None:
    pretrain.run(
        SMALL.model_copy(update=changes),
        model_config=CONFIG,
        corpus=[corpus],
        tokenizer_folder=tokenizer,
        workspace=space,
    )


def test_it_learns_and_says_so(corpus: Path, chat_folder: Path, workspace: NewWorkspace) -> None:
    space = workspace()
    train(corpus, chat_folder, space)
    lines, found = metrics(space), results(space)
    assert len(lines) == 20
    assert lines[0]["loss"] == pytest.approx(math.log(CONFIG.vocab_size), abs=0.8)
    assert found["valid_loss"] < lines[0]["loss"] - 1
    assert found["perplexity"] == pytest.approx(math.exp(found["valid_loss"]))
    assert found["train_loss"] == lines[-1]["loss"]
    assert [n for n, line in enumerate(lines) if "valid_loss" in line] == [7, 15, 19]
    assert found["parameters"] == CONFIG.num_parameters
    assert found["tokens"] == 20 * 128
    model = load_language_model(space.model)
    held_out = Shard(space.folder / "shard", 32)
    rows = range(held_out.num_rows - 3, held_out.num_rows)
    assert mean_loss(model, [held_out.batch(rows)], CPU) == pytest.approx(found["valid_loss"])
    assert load_tokenizer(space.model).fingerprint == load_tokenizer(chat_folder).fingerprint


def test_held_out_rows_are_never_trained_on(
    corpus: Path, chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: set[tuple[int, ...]] = set()
    held_out: set[tuple[int, ...]] = set()
    plain = pretrain.packed_loss_sum

    def watched(model: LanguageModel, batch: PackedBatch, device: torch.device) -> torch.Tensor:
        seen = trained if torch.is_grad_enabled() else held_out
        seen.update(map(tuple, batch.tokens.tolist()))
        return plain(model, batch, device)

    monkeypatch.setattr(pretrain, "packed_loss_sum", watched)
    space = workspace()
    train(corpus, chat_folder, space, num_tokens=50 * 128)  # more than an epoch
    assert len(held_out) == 3
    assert not held_out & trained
    assert len(held_out | trained) == Shard(space.folder / "shard", 32).num_rows


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("place", ["mean_loss", "save_language_model"])
def test_stopped_and_run_again_is_the_same_to_the_last_figure(
    corpus: Path,
    chat_folder: Path,
    workspace: NewWorkspace,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """StoppedError in step 8, and after the last step with all but the result done."""

    def stop(*arguments: object) -> None:
        raise StoppedError

    whole, stopped = workspace("whole"), workspace("stopped")
    train(corpus, chat_folder, whole)
    plain = getattr(pretrain, place)
    monkeypatch.setattr(pretrain, place, stop)
    with pytest.raises(StoppedError):
        train(corpus, chat_folder, stopped)
    monkeypatch.setattr(pretrain, place, plain)
    assert not (stopped.folder / "results.json").exists()
    train(corpus, chat_folder, stopped)
    assert same_weights(stopped.model, whole.model)
    assert results(stopped) == results(whole)


def test_mean_loss_is_over_tokens_not_over_batches() -> None:
    """One batch with 9 targets and one with 2: a mean of means would weigh them alike."""
    model = LanguageModel.fresh(CONFIG, seed=0)
    long, short = list(range(10, 20)), [5, 6, 7]
    losses: list[float] = []
    with torch.no_grad():
        for ids in (long, short):
            logits = model(torch.tensor([ids[:-1]]))[0]
            targets = torch.tensor(ids[1:])
            losses += F.cross_entropy(logits, targets, reduction="none").tolist()
    got = mean_loss(model, [pack([long]), pack([short])], CPU)
    assert got == pytest.approx(sum(losses) / 11, rel=1e-5)
    assert mean_loss(model, [pack([[5]])], CPU) is None


def test_a_corpus_without_text(chat_folder: Path, workspace: NewWorkspace, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    space = workspace()
    with pytest.raises(UserError, match=r"empty|no text|without"):
        train(empty, chat_folder, space)
    assert not space.model.exists()
    assert not (space.folder / "shard" / "shard.json").exists()
