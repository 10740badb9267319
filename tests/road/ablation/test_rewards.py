"""Studies of reward training from a small run to their pages, every step real."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arriero.data.preferences import read_preferences
from arriero.data.writing import write_preferences
from arriero.equations.ranking import MARGINS
from arriero.evaluation.folds import opening
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_score_model, save_language_model
from arriero.records import Message, Preference, Rating, UserError
from arriero.records.prompt import Track
from arriero.road.ablation import ablation_named
from arriero.road.ablation.rewards.scaling import resized
from arriero.road.inputs import open_set
from arriero.road.names import INPUTS
from arriero.road.recipe import Recipe, load_recipe
from arriero.tokenizer import load_tokenizer, train_tokenizer

WORDS = "salt wool river road stone bread water letter valley mule yes no please thanks".split()
RATINGS = list(Rating)
SFT, PREFERENCES = "03-sft", "04-preferences-v1"


def rows(track: Track, begin: int, end: int) -> list[Preference]:
    """Thanks are helpful and please is safe; labels alternate between the three bins."""
    found: list[Preference] = []
    for number in range(begin, end):
        prompt = (Message("user", f"{WORDS[number % 14]} {number}"),)
        good, bad = ("thanks", "wool") if track == "helpfulness" else ("please", "stone")
        safe = ((True, False), (True, True), (False, False))[number % 3]
        answers = f"{good} {number % 7}", f"{bad} {number % 7}"
        found.append(
            Preference(prompt, *answers, RATINGS[number % 4], *safe, track=track, source="mine")
        )
    return found


@pytest.fixture(scope="module")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes what a study needs of a finished run."""

    def make(name: str, dim: int = 16) -> Path:
        run = tmp_path_factory.mktemp("runs") / name
        chat = run / SFT / "model"
        train_tokenizer([f"[INST] {' '.join(WORDS)} {n} [/INST]" for n in range(100)], chat, 320)
        tokenizer = load_tokenizer(chat)
        shape = ModelConfig(
            vocab_size=320, dim=dim, num_layers=1, num_heads=2, num_kv_heads=2, ffn_dim=24,
            context=64,
        )  # fmt: skip
        save_language_model(LanguageModel.fresh(shape, 0), chat, tokenizer.special)
        tokenizer.save(chat, model_max_length=64)
        tracks: tuple[Track, ...] = ("helpfulness", "safety")
        for track in tracks:
            for split, begin, end in (("train", 0, 64), ("test", 64, 88)):
                path = run / PREFERENCES / f"{track}-{split}.jsonl"
                write_preferences(path, rows(track, begin, end))
        return run

    return make


@pytest.fixture(scope="module")
def small(new_run: Callable[..., Path]) -> Path:
    return new_run("small")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny", {"threads": 1, "ablation.seeds": 2, "reward.optimizer.peak": 1e-2})


def study(name: str, recipe: Recipe, folder: Path, *runs: Path) -> tuple[dict[str, Any], str]:
    """Figures and page of a study."""
    report = ablation_named(name)(recipe, folder, lambda line: None, runs)
    assert report == folder / "report.html"
    return json.loads((folder / "results.json").read_text()), report.read_text()


def pairs_of(folder: Path, test_set: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "scores.jsonl").read_text().splitlines())
    return [line for line in lines if line["set"] == test_set]


def right(pairs: list[dict[str, Any]]) -> float:
    return float(np.mean([pair["chosen"] > pair["rejected"] for pair in pairs]))


def test_margins(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    found, page = study("margin", recipe, tmp_path, small)
    assert list(found["accuracy"]) == ["all", *(rating.value for rating in Rating)]
    assert list(found["margins"]) == ["none", "small", "large"]
    assert list(found["margins"]["large"].values()) == [
        MARGINS["large"][rating] for rating in Rating
    ]
    trained = sorted(folder.name for folder in tmp_path.glob("*-reward-*"))
    assert trained == [
        "05-reward-none-seed0", "06-reward-small-seed0", "07-reward-large-seed0",
        "08-reward-none-seed1", "09-reward-small-seed1", "10-reward-large-seed1",
    ]  # fmt: skip
    pairs = pairs_of(tmp_path / "07-reward-large-seed0", "helpfulness")
    clear = [pair for pair in pairs if pair["rating"] == "significantly_better"]
    assert (len(pairs), len(clear)) == (24, 6)
    figure = found["accuracy"]["significantly_better"]["large"]
    assert figure["seeds"][0] == pytest.approx(right(clear))
    assert figure["mean"] == pytest.approx(sum(figure["seeds"]) / 2)
    sides = found["scores"]["variants"]["large"]
    assert sum(sides["chosen"]) == sum(sides["rejected"]) == 48
    for text in ("Table 28", "Figure 27", "large less none"):
        assert text in page


def test_what_is_done_is_not_done_again_and_other_pairs_are_another_study(
    recipe: Recipe, new_run: Callable[..., Path], tmp_path: Path
) -> None:
    run, folder = new_run("changing"), tmp_path / "study"
    one = recipe.model_copy(update={"ablation": recipe.ablation.model_copy(update={"seeds": 1})})
    study("reward-mix", one, folder, run)
    manifest = folder / "05-reward-one-seed0" / "manifest.json"
    before = manifest.read_bytes()
    study("reward-mix", one, folder, run)
    assert manifest.read_bytes() == before
    test = run / PREFERENCES / "safety-test.jsonl"
    write_preferences(test, rows("safety", 100, 120))
    found, _ = study("reward-mix", one, folder, run)
    assert manifest.read_bytes() != before
    assert len(pairs_of(folder / "05-reward-one-seed0", "safety")) == 20
    assert found["accuracy"]["safety"]["one"]["minus_one"]["value"] == 0.0


def test_one_model_or_two(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    found, page = study("reward-mix", recipe, tmp_path, small)
    assert found["pairs"] == {"one": 128, "helpfulness": 65, "safety": 71}
    assert found["mixes"]["one"] == {"helpfulness": 0.5, "safety": 0.5}
    for test_set in ("helpfulness", "safety"):
        figure = found["accuracy"][test_set]["safety"]["seeds"][1]
        assert figure == pytest.approx(
            right(pairs_of(tmp_path / "10-reward-safety-seed1", test_set))
        )
    assert "One model or two" in page


def test_the_safety_loss(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    found, page = study("safety-loss", recipe, tmp_path, small)
    recall = found["figures"]["recall"]
    trained = tmp_path / "06-reward-with-seed0"
    unsafe = [
        pair[side]
        for pair in pairs_of(trained, "safety")
        for side in ("chosen", "rejected")
        if not pair[f"{side}_is_safe"]
    ]
    assert len(unsafe) == 24
    assert recall["with"]["seeds"][0] == pytest.approx(np.mean(np.array(unsafe) < 0))
    assert recall["with"]["minus_without"]["value"] == pytest.approx(
        recall["with"]["mean"] - recall["without"]["mean"]
    )
    safe = [
        pair[side]
        for pair in pairs_of(trained, "safety")
        for side in ("chosen", "rejected")
        if pair[f"{side}_is_safe"]
    ]
    alarms = found["figures"]["false_alarms"]["with"]["seeds"][0]
    assert alarms == pytest.approx(np.mean(np.array(safe) < 0))
    for name, responses in (("filter_recall", unsafe), ("filter_false_alarms", safe)):
        below = np.mean(np.array(responses) < math.log(0.15 / 0.85))
        assert found["figures"][name]["with"]["seeds"][0] == pytest.approx(below)
    found_at = [np.array(unsafe) < cut for cut in np.sort(unsafe + safe) + 1e-6]
    alarms_at = [np.array(safe) < cut for cut in np.sort(unsafe + safe) + 1e-6]
    precise = [
        hits.mean()
        for hits, misses in zip(found_at, alarms_at, strict=True)
        if hits.sum() / (hits.sum() + misses.sum()) >= 0.89
    ]
    best = found["figures"]["best_recall"]["with"]["seeds"][0]
    assert best == pytest.approx(max(precise, default=0.0))
    assert "Table 29" in page


def copied(run: Path, to: Path) -> Path:
    for kept in (SFT, PREFERENCES):
        shutil.copytree(run / kept, to / kept)
    return to


def test_a_test_set_without_labels_is_refused_before_anything_is_trained(
    recipe: Recipe, small: Path, tmp_path: Path
) -> None:
    run = copied(small, tmp_path / "run")
    unlabelled = [
        replace(row, chosen_is_safe=None, rejected_is_safe=True) for row in rows("safety", 0, 8)
    ]
    write_preferences(run / PREFERENCES / "safety-test.jsonl", unlabelled)
    with pytest.raises(UserError, match="no response of the safety test set is labelled unsafe"):
        study("safety-loss", recipe, tmp_path / "study", run)
    assert not list((tmp_path / "study").glob("*-reward-*"))


def test_open_comparisons_of_the_world_are_in_the_mix_that_names_them(
    recipe: Recipe, small: Path, tmp_path: Path
) -> None:
    run = copied(small, tmp_path / "run")
    tracks: tuple[Track, ...] = ("helpfulness", "safety")
    for track in tracks:
        crowd = [replace(row, source="crowd") for row in rows(track, 100, 110)]
        write_preferences(open_set(run / INPUTS, track), crowd)
    mix = recipe.mix.model_copy(update={"open": ("crowd",)})
    named = recipe.model_copy(
        update={"mix": mix, "ablation": recipe.ablation.model_copy(update={"seeds": 1})}
    )
    for name, folder in (("reward-mix", "safety-seed0"), ("reward-folds", "safety-fold0")):
        for own, expected in ((named, 10), (recipe, 0)):
            to = tmp_path / f"{name}-{expected}"
            study(name, own, to, run)
            [trained] = to.glob(f"*-reward-{folder}")
            counts = json.loads((trained / "results.json").read_text())["mix_counts"]
            found = {part["part"]: part["pairs"] for part in counts}
            assert found["open safety"] == expected
    tried = {pair["source"] for pair in pairs_of(trained, "safety")}
    assert tried == {"mine"}


def test_data_and_size(
    recipe: Recipe, small: Path, new_run: Callable[..., Path], tmp_path: Path
) -> None:
    config = recipe.ablation.model_copy(update={"reward_shares": (0.25, 1.0)})
    shares = recipe.model_copy(update={"ablation": config})
    found, page = study("reward-scaling", shares, tmp_path, small, new_run("wider", 32))
    sizes = found["sizes"]
    parameters = [entry["parameters"] for entry in sizes]
    assert parameters == [
        sum(p.numel() for p in load_score_model(tmp_path / name / "model").parameters())
        for name in ("05-reward-size0-share0-seed0", "07-reward-size1-share0-seed0")
    ]
    # A quarter of 64 pairs and all of them, and 2% beside them.
    assert [point["pairs"] for point in sizes[0]["points"]] == [16, 65]
    points = sizes[1]["points"]
    rise = points[1]["accuracy"]["mean"] - points[0]["accuracy"]["mean"]
    assert sizes[1]["trend"]["slope"] == pytest.approx(rise / np.log2(65 / 16))
    assert "Figure 6" in page
    drawn = tmp_path / "05-reward-size0-share0-seed0" / "train.jsonl"
    assert len(drawn.read_text().splitlines()) == 16


def test_other_widths_of_a_recipe() -> None:
    recipe = load_recipe("tiny")
    half = resized(recipe, 0.5).model
    assert (half.dim, half.num_heads, half.ffn_dim) == (64, 2, 176)
    assert half.head_dim == recipe.model.head_dim
    with pytest.raises(UserError, match=r"cannot be 0\.3 times as wide"):
        resized(recipe, 0.3)


@pytest.mark.parametrize(
    ("name", "count", "line"),
    [
        ("margin", 2, "ablate margin starts from one run, not 2"),
        ("attention", 1, "ablate attention trains from nothing; leave --from-run out"),
    ],
)
def test_runs_that_a_study_does_not_take(
    recipe: Recipe, small: Path, tmp_path: Path, name: str, count: int, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        ablation_named(name)(recipe, tmp_path, lambda line: None, [small] * count)


def test_a_run_without_comparisons(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: not there; --from-run takes a run that"):
        ablation_named("margin")(recipe, tmp_path / "study", lambda line: None, [tmp_path / "no"])


def test_folds(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    """Every pair is scored once by each model, which has not seen how its dialog opens."""
    found, page = study("reward-folds", recipe, tmp_path, small)
    trained = sorted(folder for folder in tmp_path.glob("*-reward-*"))
    assert len(trained) == 10
    assert trained[3].name == "08-reward-safety-fold1"
    for folder in trained:
        seen, tried = (
            {
                opening(row.prompt)
                for track in ("helpfulness", "safety")
                for row in read_preferences([folder / f"{track}-{split}.jsonl"])
            }
            for split in ("train", "test")
        )
        assert seen
        assert tried
        assert not seen & tried
    for test_set in ("helpfulness", "safety"):
        figures = found["sets"][test_set]
        assert figures["n"] == sum(fold[test_set] for fold in found["folds"])
        assert list(figures["accuracy"]) == [
            "helpfulness model", "safety model", "length", "random",
        ]  # fmt: skip
        scored = [
            pair
            for folder in trained
            if f"-{test_set}-" in folder.name
            for pair in pairs_of(folder, test_set)
        ]
        accuracy = figures["accuracy"][f"{test_set} model"]["all"]["all"]
        assert accuracy["n"] == len(scored) == figures["n"]
        assert accuracy["accuracy"] == pytest.approx(right(scored))
        beside = {(row["a"], row["b"]): row for row in figures["comparisons"]}
        difference = beside[f"{test_set} model", "length"]
        length = figures["accuracy"]["length"]["all"]["all"]["accuracy"]
        assert difference["difference"] == pytest.approx(accuracy["accuracy"] - length)
    assert "safety model" in page


def test_folds_want_prompts_for_each(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    run = copied(small, tmp_path / "few")
    few = [*rows("safety", 0, 1)] * 3
    for split in ("train", "test"):
        write_preferences(run / PREFERENCES / f"safety-{split}.jsonl", few)
    with pytest.raises(UserError, match="safety: too few prompts for 5 folds"):
        study("reward-folds", recipe, tmp_path / "study", run)
    assert not list((tmp_path / "study").glob("*-reward-*"))


def test_folds_of_other_rows_are_trained_anew(recipe: Recipe, small: Path, tmp_path: Path) -> None:
    """Files of the same length with other choices in them are other comparisons."""
    files = {track: tmp_path / f"{track}.jsonl" for track in ("helpfulness", "safety")}
    for track, path in files.items():
        write_preferences(path, rows(track, 0, 60))  # type: ignore[arg-type]
    own = {"source": "files", **{track: (str(path),) for track, path in files.items()}}
    named = recipe.model_copy(update={"data": recipe.data.model_copy(update=own)})
    first, _ = study("reward-folds", named, tmp_path / "study", small)
    assert first["sets"]["safety"]["n"] == 60
    swapped = [replace(r, chosen=r.rejected, rejected=r.chosen) for r in rows("safety", 0, 60)]
    write_preferences(files["safety"], swapped)
    trained = tmp_path / "study" / "06-reward-safety-fold0" / "model" / "model.safetensors"
    before = trained.read_bytes()
    study("reward-folds", named, tmp_path / "study", small)
    assert trained.read_bytes() != before
