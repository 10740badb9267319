"""Pretraining: it learns, holds its last rows out, and goes on where it was stopped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from arriero.data.mixing import Source, open_corpus, shard_folder, write_mix
from arriero.data.packing import PackedBatch, pack
from arriero.data.shards import Shard, write_tokens
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import UserError
from arriero.stages import pretrain, token_loss
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.reading import held_out_rows, openings_of
from arriero.stages.token_loss import mean_loss
from arriero.stages.workspace import Workspace
from arriero.tokenizer import load_tokenizer
from arriero.training.optimizer import OptimizerConfig

from .conftest import CONFIG, VOCAB, WORDS, NewWorkspace, metrics, results, same_weights

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


def train(
    corpus: Path,
    tokenizer: Path,
    space: Workspace,
    sources: Sequence[Source] = (),
    model_config: ModelConfig = CONFIG,
    **changes: Any,
) -> None:
    pretrain.run(
        SMALL.model_copy(update=changes),
        model_config=model_config,
        corpus=[corpus],
        sources=sources,
        tokenizer_folder=tokenizer,
        workspace=space,
    )


def rows_read(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]
) -> tuple[Counter[tuple[int, ...]], set[tuple[int, ...]]]:
    """The rows that are trained on while it runs, counted, and those that are tried."""
    trained: Counter[tuple[int, ...]] = Counter()
    tried: set[tuple[int, ...]] = set()
    plain = pretrain.packed_loss_sum

    def watched(model: LanguageModel, batch: PackedBatch, device: torch.device) -> torch.Tensor:
        seen = trained if torch.is_grad_enabled() else tried
        seen.update(map(tuple, batch.tokens.tolist()))
        return plain(model, batch, device)

    with monkeypatch.context() as patch:
        for room in (pretrain, token_loss):
            patch.setattr(room, "packed_loss_sum", watched)
        run()
    return trained, tried


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
    space = workspace()
    trained, held_out = rows_read(
        monkeypatch,
        lambda: train(corpus, chat_folder, space, num_tokens=50 * 128),  # more than an epoch
    )
    assert len(held_out) == 3
    assert not held_out & set(trained)
    assert len(held_out | set(trained)) == Shard(space.folder / "shard", 32).num_rows


def test_what_the_model_goes_on_from_is_held_out(
    corpus: Path, chat_folder: Path, workspace: NewWorkspace
) -> None:
    """Four openings even where three rows are held out, and none where no row is."""
    space = workspace()
    train(corpus, chat_folder, space)
    text = open_corpus(space.folder / "shard", 32)
    rows = [text.num_rows - 2, text.num_rows - 1]
    tokens = text.batch(rows).tokens.tolist()
    found = openings_of(text, [rows])
    assert found == [row[place : place + 12] for place in (0, 16) for row in tokens]
    assert openings_of(text, [[]]) == []
    many = openings_of(text, [list(range(9))])
    assert many == [row[:12] for row in text.batch(range(4)).tokens.tolist()]
    tokenizer = load_tokenizer(chat_folder)
    shown = {sample["prompt"] for sample in results(space)["samples"]}
    assert tokenizer.decode(tokens[-1][:12]) in shown


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


def weighted(folder: Path, counts: dict[str, int], weights: dict[str, float]) -> list[Source]:
    """Sources of so many documents, which tell where they are from."""
    sources: list[Source] = []
    for name, count in counts.items():
        for n in range(count):
            path = folder / name / f"{n:02}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(f"{name} {word} {n}" for word in WORDS))
        sources.append(Source(name, weights[name], (folder / name,)))
    return sources


def test_sources_are_read_by_their_weights(
    tmp_path: Path, chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 rows, 3 to 1: the small source gives 60 of them and is read several times."""
    sources = weighted(tmp_path, {"valley": 4, "river": 40}, {"valley": 0.75, "river": 0.25})
    space = workspace()
    trained, tried = rows_read(
        monkeypatch, lambda: train(tmp_path, chat_folder, space, sources=sources)
    )
    corpus = open_corpus(space.folder / "shard", 32)
    num_valley = corpus.shards[0].num_rows
    place = {
        tuple(row): number
        for number, row in enumerate(corpus.batch(range(corpus.num_rows)).tokens.tolist())
    }
    assert len(place) == corpus.num_rows  # a row says where it is from
    times = Counter({place[row]: count for row, count in trained.items()})
    held_out = {place[row] for row in tried}
    assert not held_out & set(times)
    assert {number < num_valley for number in held_out} == {True, False}

    valley, river = results(space)["sources"]
    assert sum(count for row, count in times.items() if row < num_valley) == 60
    assert (valley["share"], valley["target_share"], valley["tokens"]) == (0.75, 0.75, 60 * 32)
    assert (river["share"], river["target_share"], river["tokens"]) == (0.25, 0.25, 20 * 32)
    assert valley["train_rows"] + valley["held_out_rows"] == num_valley
    assert valley["epochs"] == 60 / valley["train_rows"] > 2
    assert river["epochs"] == 20 / river["train_rows"] < 1
    counts = [times[row] for row in range(valley["train_rows"])]
    assert max(counts) - min(counts) <= 1  # every row of it as often as the others
    assert (valley["documents"], river["documents"]) == (4, 40)
    assert valley["valid_loss"] > 0
    assert results(space)["corpus_tokens"] == valley["corpus_tokens"] + river["corpus_tokens"]


def test_sources_of_a_run_that_was_stopped(
    tmp_path: Path, chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise StoppedError

    sources = weighted(tmp_path, {"valley": 4, "river": 40}, {"valley": 2, "river": 3})
    whole, stopped = workspace("whole"), workspace("stopped")
    train(tmp_path, chat_folder, whole, sources=sources)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "mean_loss", stop)
        with pytest.raises(StoppedError):
            train(tmp_path, chat_folder, stopped, sources=sources)
    train(tmp_path, chat_folder, stopped, sources=sources)
    assert same_weights(stopped.model, whole.model)
    assert results(stopped) == results(whole)


def test_a_checkpoint_of_another_shape_is_refused_before_the_first_step(
    corpus: Path, chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise StoppedError

    space = workspace()
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "mean_loss", stop)
        with pytest.raises(StoppedError):
            train(corpus, chat_folder, space)
    before = space.metrics.read_bytes()
    wider = CONFIG.model_copy(update={"ffn_dim": 48})
    line = r"step-00000005 is of a model of another shape .*; remove its folder to start anew$"
    with pytest.raises(UserError, match=line) as caught:
        train(corpus, chat_folder, space, model_config=wider)
    assert "\n" not in str(caught.value)
    assert space.metrics.read_bytes() == before


def test_held_out_rows_of_sources_by_hand(tmp_path: Path) -> None:
    """10 rows at most by the weights, a tenth of a source at most, one at least."""
    config = SMALL.model_copy(update={"valid_share": 0.1, "max_valid_rows": 10})
    for number, count in enumerate((200, 30, 5, 1)):
        write_tokens([[7] * (count * 32 + 1)], VOCAB, shard_folder(tmp_path, number))
    weights = (1.0, 8.0, 1.0, 2.0)
    write_mix(tmp_path, [Source(str(n), weight, ()) for n, weight in enumerate(weights)])
    found = held_out_rows(config, open_corpus(tmp_path, 32))
    # Shares of ten: 1, 6 (a tenth is 3), 1, 2 (but it has a single row).
    assert found == [[199], [227, 228, 229], [234], []]


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
