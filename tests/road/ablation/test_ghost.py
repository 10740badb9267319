"""The study of Ghost Attention from a small run to its page, every step real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_rows
from arriero.records import UserError
from arriero.road.ablation import ablation_named
from arriero.road.drive import drive
from arriero.road.inputs import GHOST_PROMPTS, GHOST_TESTS
from arriero.road.recipe import Recipe, load_recipe
from arriero.world import World

SMALL: dict[str, Any] = {
    "threads": 1,
    "data.world.documents": 600,
    "data.world.demonstrations": 200,
    "data.world.attribute_dialogs": 300,
    "model.vocab_size": 1000,
    "model.dim": 32,
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "model.ffn_dim": 64,
    "model.context": 512,
    "pretrain.num_tokens": 20_480,
    "sft.epochs": 4,
    "sft.optimizer.peak": 8e-3,
    "sft.rows_per_step": 1,
    "sft.row_length": 512,
    "sft.replay_rows": 0,
    "rejection.sft.epochs": 1,
    "rejection.sft.rows_per_step": 2,
    "rejection.sft.row_length": 512,
    "rejection.sft.replay_rows": 0,
    "ghost.list_samples": 400,
    "ghost.least_named": 1,
    "ghost.max_prompts": 24,
    "ghost.max_new_tokens": 16,
    "consistency.turns": (1, 2, 4),
    "consistency.max_new_tokens": 16,
    "consistency.max_tests": 16,
    "consistency.pictured_turns": 4,
    "ablation.seeds": 2,
}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny", SMALL)


@pytest.fixture(scope="module")
def from_run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "small"
    drive(recipe, run, lambda line: None, until="sft")
    return run


@pytest.fixture(scope="module")
def finished(recipe: Recipe, from_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations") / "ghost"
    report = ablation_named("ghost-attention")(recipe, folder, lambda line: None, [from_run])
    assert report == folder / "report.html"
    return folder


def outcomes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "outcomes.jsonl").read_text().splitlines()]


def test_both_arms_learn_the_same_answers_from_the_same_start(finished: Path) -> None:
    folders = sorted(path.name for path in finished.iterdir() if path.is_dir())
    assert folders == [
        "05-ghost", "06-consistency-start",
        "07-sft-gatt-seed0", "08-consistency-gatt-seed0",
        "09-sft-control-seed0", "10-consistency-control-seed0",
        "11-sft-gatt-seed1", "12-consistency-gatt-seed1",
        "13-sft-control-seed1", "14-consistency-control-seed1",
    ]  # fmt: skip
    gatt, control = (
        list(read_dialogs(finished / "05-ghost" / f"{name}.jsonl"))
        for name in ("dialogs", "control")
    )
    assert [dialog.answer for dialog in gatt] == [dialog.answer for dialog in control]
    facts = [
        json.loads((finished / name / "results.json").read_text())
        for name in ("07-sft-gatt-seed0", "09-sft-control-seed0")
    ]
    assert facts[0]["dialogs"] == facts[1]["dialogs"]
    assert facts[0]["answer_tokens"] < facts[1]["answer_tokens"]


def test_shares_are_those_of_the_outcomes(finished: Path) -> None:
    found = json.loads((finished / "results.json").read_text())
    first = outcomes(finished / "08-consistency-gatt-seed0")
    second = outcomes(finished / "12-consistency-gatt-seed1")
    lists = found["lists"]
    world = World(0)
    assert {row["turn"] for row in first} == {1, 2, 4}
    kinds = {row["id"]: row["id"].rpartition("-")[0] for row in first}
    values = {test.id: test.value for test in world.attribute_tests(320)}
    trained = {row["id"] for row in first if values[row["id"]] in lists.get(kinds[row["id"]], ())}
    untrained = {row["id"] for row in first} - trained
    for name, members in (("trained", trained), ("untrained", untrained)):
        own = [
            row["is_honoured"]
            for row in (*first, *second)
            if row["turn"] == 2 and row["id"] in members
        ]
        assert own
        share = found["shares"][name]["gatt"]["2"]
        assert share["count"] == len(own)
        assert share["share"] == pytest.approx(sum(own) / len(own))
    for row in first:
        kind, value = kinds[row["id"]], values[row["id"]]
        assert row["is_honoured"] == world.honours(kind, value, row["answer"])


def test_the_page_shows_the_table_and_the_picture(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for words in ("Table 30", "Figure 10", "GAtt less control", "Lists made by the model"):
        assert words in page
    found = json.loads((finished / "results.json").read_text())
    for name in ("start", "gatt", "control"):
        attention = found["attention"][name]
        begin, end = attention["instruction"]
        assert 0 < begin < end < attention["tokens"]
        assert len(attention["to_instruction"]) == 4
        assert max(map(max, attention["weights"])) <= 1.0
    assert len({tuple(found["attention"][n]["to_instruction"]) for n in ("start", "gatt")}) == 2


def test_what_is_done_is_not_done_again(recipe: Recipe, finished: Path, from_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/manifest.json")}
    ablation_named("ghost-attention")(recipe, finished, lambda line: None, [from_run])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_tests_of_ones_own_need_no_oracle(
    recipe: Recipe, from_run: Path, finished: Path, tmp_path: Path
) -> None:
    """A file with expected words alone, on the run that is there."""
    own = tmp_path / "own.jsonl"
    row = {"instruction": "Act as X.", "turns": ["Hello."] * 3, "question": "Who are you?"}
    write_rows(own, [row | {"expected": ["guide"]}, row | {"expected": ["X"]}])
    recipe = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"consistency": (str(own),)}),
            "ablation": recipe.ablation.model_copy(update={"seeds": 1}),
        }
    )
    ablation_named("ghost-attention")(recipe, tmp_path / "study", lambda line: None, [from_run])
    rows = outcomes(tmp_path / "study" / "08-consistency-gatt-seed0")
    assert [(row["test"], row["turn"]) for row in rows] == [
        (test, turn) for test in (0, 1) for turn in (1, 2, 4)
    ]
    for found in rows:
        word = ("guide", "x")[found["test"]]
        words = [each.strip(".!").lower() for each in found["answer"].split()]
        assert found["is_honoured"] == (word in words)


def test_what_is_missing_is_named(recipe: Recipe, from_run: Path, tmp_path: Path) -> None:
    study = ablation_named("ghost-attention")

    def say(line: str) -> None:
        raise AssertionError(line)

    with pytest.raises(UserError, match="starts from one run, not 2"):
        study(recipe, tmp_path / "a", say, [from_run, from_run])
    world = recipe.data.world.model_copy(update={"attribute_dialogs": 0})
    bare = recipe.model_copy(update={"data": recipe.data.model_copy(update={"world": world})})
    with pytest.raises(UserError, match=r"--data\.world\.attribute_dialogs"):
        study(bare, tmp_path / "b", say)
    # Of a run its own recipe says what was drawn, whatever the command's would draw.
    with pytest.raises(AssertionError, match="05-ghost"):
        study(bare, tmp_path / "study", say, [from_run])
    with pytest.raises(UserError, match="no chat model there"):
        study(recipe, tmp_path / "c", say, [tmp_path])
    copy = tmp_path / "copy"
    shutil.copytree(from_run, copy)
    (copy / "00-inputs" / GHOST_TESTS).unlink()
    with pytest.raises(UserError, match=GHOST_TESTS):
        study(recipe, tmp_path / "d", say, [copy])
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_the_worlds_files_are_drawn_with_the_inputs(from_run: Path) -> None:
    inputs = from_run / "00-inputs"
    assert len((inputs / GHOST_PROMPTS).read_text().splitlines()) == 300
    assert len((inputs / GHOST_TESTS).read_text().splitlines()) == 320
    assert len(list(read_dialogs(inputs / "attributes.jsonl"))) == 300
