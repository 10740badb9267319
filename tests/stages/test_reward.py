"""Reward training: the loss pair by pair, the accuracies, what a run leaves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from arriero.data.writing import write_preferences
from arriero.equations.intervals import wilson_interval
from arriero.equations.ranking import MARGINS
from arriero.equations.schedule import cosine_with_warmup, reward_warmup_steps
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import LoraConfig
from arriero.model.weights import load_language_model, load_score_model
from arriero.records import Message, Preference, Rating, UserError
from arriero.records.prompt import Track
from arriero.stages import reward
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig
from arriero.stages.reward_pairs import encode_pairs, pair_loss_sum
from arriero.stages.reward_results import pair_accuracies, score_histogram
from arriero.tokenizer import Tokenizer
from arriero.training.optimizer import OptimizerConfig

from .conftest import CONFIG, WORDS, NewWorkspace, metrics, results

SMALL = RewardConfig(
    pairs_per_step=8,
    micro_pairs=4,
    precision="float32",
    optimizer=OptimizerConfig(peak=1e-2),
)
CPU = torch.device("cpu")


def row(
    number: int,
    chosen: str = "yes",
    rejected: str = "no",
    rating: Rating | None = None,
    safe: tuple[bool | None, bool | None] = (None, None),
    track: Track = "helpfulness",
) -> Preference:
    prompt = (Message("user", f"{WORDS[number % 14]} {number}"),)
    return Preference(prompt, chosen, rejected, rating, *safe, track=track)


def score_model(seed: int = 0) -> ScoreModel:
    model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed), seed).eval()
    with torch.no_grad():
        model.score.weight.mul_(10)
    return model


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_loss_is_the_slow_one(tokenizer: Tokenizer, weight: float) -> None:
    """Pair by pair, unpacked: margins by rating, none without one; labels only where known."""
    rows = [
        row(0, "yes please", "no", Rating.SIGNIFICANTLY_BETTER, (True, False)),
        row(1, "salt", "wool", Rating.SLIGHTLY_BETTER, (True, None)),
        row(2, "bread", "water", None, (None, None)),
        row(3, "river", "road", Rating.NEGLIGIBLY_BETTER, (False, False)),
    ]
    pairs = encode_pairs(tokenizer, rows, CONFIG.context)
    model = score_model()
    total = 0.0
    margins = (1.0, 1 / 3, 0.0, 0.0)
    with torch.no_grad():
        for pair, margin in zip(pairs, margins, strict=True):
            chosen, rejected = (
                float(model(torch.tensor([ids]))[0, -1]) for ids in (pair.chosen, pair.rejected)
            )
            total += math.log1p(math.exp(-(chosen - rejected - margin)))
            sides = ((chosen, pair.row.chosen_is_safe), (rejected, pair.row.rejected_is_safe))
            for score, is_safe in sides:
                if is_safe is not None:
                    total += weight * math.log1p(math.exp(-score if is_safe else score))
    got = pair_loss_sum(model, pairs, MARGINS["small"], weight, CPU)
    assert got.item() == pytest.approx(total, rel=1e-5)


def test_pairs_longer_than_the_context_are_left_out(tokenizer: Tokenizer) -> None:
    rows = [row(0), row(1, rejected=" ".join(WORDS * 6)), row(2)]
    pairs = encode_pairs(tokenizer, rows, CONFIG.context)
    assert [pair.row for pair in pairs] == [rows[0], rows[2]]
    assert all(pair.chosen[-1] == pair.rejected[-1] == tokenizer.eos_id for pair in pairs)


def test_accuracies_by_hand(tokenizer: Tokenizer) -> None:
    """Overall and by rating; a tie (the same answer twice) counts one half."""
    ratings = (Rating.BETTER, Rating.BETTER, Rating.SLIGHTLY_BETTER, None)
    rows = [row(n, WORDS[n], WORDS[n + 5], rating) for n, rating in enumerate(ratings)]
    rows.append(row(4, "yes", "yes", Rating.SLIGHTLY_BETTER))
    pairs = encode_pairs(tokenizer, rows, CONFIG.context)
    model = score_model()
    found, scores = pair_accuracies(model, pairs)
    right: list[float] = []
    with torch.no_grad():
        for number, pair in enumerate(pairs):
            a, b = (model(torch.tensor([ids]))[0, -1] for ids in (pair.chosen, pair.rejected))
            torch.testing.assert_close(scores[:, number], torch.stack((a, b)), atol=1e-5, rtol=0)
            right.append(0.5 if pair.chosen == pair.rejected else float(a > b))
    assert found["all"]["accuracy"] == pytest.approx(sum(right) / 5)
    assert found["all"]["n"] == 5
    low, high = wilson_interval(sum(right), 5)
    assert (found["all"]["low"], found["all"]["high"]) == pytest.approx((low, high))
    assert found["better"]["accuracy"] == pytest.approx((right[0] + right[1]) / 2)
    assert found["slightly_better"]["accuracy"] == pytest.approx((right[2] + 0.5) / 2)
    assert "negligibly_better" not in found


def test_histogram_holds_every_score() -> None:
    scores = torch.tensor([[0.0, 1.0, 3.0], [-3.0, 3.0, 0.0]])
    found = score_histogram(scores)
    assert sum(found["chosen"]) == sum(found["rejected"]) == 3
    assert len(found["edges"]) == 31
    assert (found["edges"][0], found["edges"][-1]) == pytest.approx((-3, 3), abs=1e-5)
    assert found["rejected"][0] == 1
    assert found["chosen"][-1] == 1


def test_it_learns_what_is_preferred(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    files: dict[Track, list[Path]] = {}
    preferred: dict[Track, str] = {"helpfulness": "yes please", "safety": "thanks no"}
    for track, good in preferred.items():
        for split, begin, end in (("train", 0, 160), ("test", 160, 190)):
            path = tmp_path / f"{track}-{split}.jsonl"
            safe = (True, False)
            write_preferences(
                path, [row(n, good, "wool", Rating.BETTER, safe, track) for n in range(begin, end)]
            )
            files.setdefault(track, []).append(path)
    space = workspace()
    reward.run(
        SMALL,
        track="safety",
        mix=MixConfig(),
        start=chat_folder,
        train={track: [paths[0]] for track, paths in files.items()},
        test={track: [paths[1]] for track, paths in files.items()},
        workspace=space,
    )
    found, lines = results(space), metrics(space)
    assert (found["name"], found["pairs"]) == ("safety", 178)  # 160 and a tenth of the other track
    assert found["mix"] == {"own safety": 160 / 178, "own helpfulness": 18 / 178}
    assert [tuple(part.values()) for part in found["mix_counts"]] == [
        ("own safety", 160, 160, 160),
        ("open safety", 0, 0, 0),
        ("own helpfulness", 160, 18, 18),
        ("open helpfulness", 0, 0, 0),
    ]
    assert (found["too_long"], found["test_too_long"]) == (0, {"helpfulness": 0, "safety": 0})
    assert found["margins"]["better"] == MARGINS["small"][Rating.BETTER]
    assert found["accuracy"]["safety"]["all"]["accuracy"] == 1.0
    assert found["accuracy"]["helpfulness"]["all"]["n"] == 30
    assert sum(found["score_histogram"]["chosen"]) == 30
    # Scores start near 0: a ranking loss of the margin and two safety losses of log 2.
    margin = MARGINS["small"][Rating.BETTER]
    expected = float(-F.logsigmoid(torch.tensor(-margin))) + 2 * math.log(2)
    assert lines[0]["loss"] == pytest.approx(expected, abs=0.2)
    assert found["train_loss"] == lines[-1]["loss"] < 0.5
    steps = math.ceil(178 / 8)
    assert len(lines) == steps
    warmup = reward_warmup_steps(steps)
    assert warmup == 5
    rates = [cosine_with_warmup(step, steps, 1e-2, warmup, 0.1) for step in range(steps)]
    assert [line["lr"] for line in lines] == rates
    again = load_score_model(space.model)
    assert again.config == CONFIG


def test_no_pair_fits(chat_folder: Path, workspace: NewWorkspace, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    write_preferences(path, [row(0, " ".join(WORDS * 6))])
    space = workspace()
    with pytest.raises(UserError, match="none of 1 pairs fits into the context"):
        reward.run(
            SMALL,
            track="helpfulness",
            mix=MixConfig(),
            start=chat_folder,
            train={"helpfulness": [path]},
            test={},
            workspace=space,
        )
    assert not space.model.exists()


def test_adapters_and_a_score_head_learn_what_is_preferred(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    write_preferences(train, [row(n, "yes please", "wool") for n in range(160)])
    write_preferences(test, [row(n, "yes please", "wool") for n in range(160, 190)])
    space = workspace()
    reward.run(
        SMALL.model_copy(update={"lora": LoraConfig(rank=4, layers=("q_proj", "v_proj"))}),
        track="helpfulness",
        mix=MixConfig(),
        start=chat_folder,
        train={"helpfulness": [train]},
        test={"helpfulness": [test]},
        workspace=space,
    )
    assert results(space)["accuracy"]["helpfulness"]["all"]["accuracy"] == 1.0
    assert results(space)["train_loss"] < 0.5
    found = load_score_model(space.model).model.state_dict()
    start = load_language_model(chat_folder).model.state_dict()
    changed = {name for name in start if not found[name].equal(start[name])}
    assert changed == {f"layers.0.self_attn.{name}.weight" for name in ("q_proj", "v_proj")}


def test_pairs_that_the_context_cuts_are_counted(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    long = " ".join(WORDS * 6)
    train, test, hopeless = (tmp_path / f"{name}.jsonl" for name in ("train", "test", "hopeless"))
    write_preferences(train, [*(row(n) for n in range(8)), row(8, long), row(9, rejected=long)])
    write_preferences(test, [row(10), row(11), row(12, long)])
    write_preferences(hopeless, [row(13, long)])
    space = workspace()
    reward.run(
        SMALL,
        track="helpfulness",
        mix=MixConfig(),
        start=chat_folder,
        train={"helpfulness": [train]},
        test={"helpfulness": [test], "hopeless": [hopeless]},
        workspace=space,
    )
    found = results(space)
    assert (found["pairs"], found["too_long"]) == (8, 2)
    assert found["test_too_long"] == {"helpfulness": 1, "hopeless": 1}
    assert found["accuracy"]["helpfulness"]["all"]["n"] == 2
    assert "hopeless" not in found["accuracy"]


def test_a_rerun_of_the_same_seed_is_bit_equal(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    files: dict[Track, list[Path]] = {}
    for track in ("helpfulness", "safety"):
        path = tmp_path / f"{track}.jsonl"
        write_preferences(path, [row(n, safe=(True, False), track=track) for n in range(40)])
        files[track] = [path]
    left: list[bytes] = []
    for name in ("first", "again"):
        space = workspace(name)
        reward.run(
            SMALL,
            track="safety",
            mix=MixConfig(),
            start=chat_folder,
            train=files,
            test={"safety": files["safety"]},
            workspace=space,
        )
        left.append((space.model / "model.safetensors").read_bytes())
        left.append((space.folder / "results.json").read_bytes())
    assert left[:2] == left[2:]
