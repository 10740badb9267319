"""The road in versions, every stage real: what each reads, and what the bag keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.data.prompts import read_prompts
from arriero.records import UserError
from arriero.road.ablation.bag.study import ablate_bag
from arriero.road.drive import drive, newest_chat_model
from arriero.road.lineage import ancestry, read_lineage
from arriero.road.recipe import Recipe, load_recipe, to_toml
from arriero.road.run import run_steps
from arriero.road.stations import stations

from .conftest import SMALL

VERSIONS: dict[str, Any] = SMALL | {
    "versions.sft": 2,
    "versions.rlhf": 2,
    "versions.bag_from": 2,
    "versions.ghost_from": 2,
    "data.world.rhymes_until": 1,
    "data.world.attribute_dialogs": 60,
    "data.world.general_comparisons": 40,
    "model.context": 256,
    "ghost.max_prompts": 12,
    "ghost.max_new_tokens": 24,
    "ghost.least_named": 1,
    "ppo.iterations": 1,
}
FOLDERS = [
    "00-inputs",
    "01-tokenizer",
    "02-pretrain",
    "03-sft-v1",
    "04-sft-v2",
    "05-preferences-v1",
    "06-reward-helpfulness-v1",
    "07-reward-safety-v1",
    "08-rejection-v1",
    "09-preferences-v2",
    "10-reward-helpfulness-v2",
    "11-reward-safety-v2",
    "12-ghost-v2",
    "13-rejection-v2",
    "14-reward-general",
    "15-ppo-v2",
    "16-evaluate",
]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny", VERSIONS)


@pytest.fixture(scope="module")
def run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("versions") / "run"
    drive(recipe, folder, lambda line: None)
    return folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_every_version_has_its_folders(recipe: Recipe, run: Path) -> None:
    assert [path.name for path in sorted(run.glob("[0-9]*"))] == FOLDERS
    assert run_steps(stations(recipe, run), recipe, run, lambda line: None) == []
    newest = newest_chat_model(run)
    assert newest is not None
    assert newest.parent.name == "15-ppo-v2"


def test_each_version_asks_what_none_asked_before(run: Path) -> None:
    asked = {
        (split, version): list(
            read_prompts([run / "00-inputs" / f"prompts-{split}-v{version}.jsonl"])
        )
        for split in ("preferences", "rejection", "ppo")
        for version in (1, 2)
    }
    for split in ("preferences", "rejection", "ppo"):
        first, second = asked[split, 1], asked[split, 2]
        assert not {one.id for one in first} & {one.id for one in second}
        assert any(one.category == "rhyme" for one in first)
        assert not any(one.category == "rhyme" for one in second)


def test_comparisons_are_batches_and_reward_models_learn_from_all_so_far(run: Path) -> None:
    for version, folder in ((1, FOLDERS[5]), (2, FOLDERS[9])):
        rows = list(read_preferences([run / folder / "helpfulness-train.jsonl"]))
        assert {row.batch for row in rows} == {f"v{version}"}
    first, second = (results(run / name)["pairs"] for name in (FOLDERS[6], FOLDERS[10]))
    assert second > first
    lineage = read_lineage(run)
    assert {"05-preferences-v1", "09-preferences-v2"} <= set(lineage[FOLDERS[10]].parents)
    # The newest model and the one before it answer.
    assert {"04-sft-v2", "08-rejection-v1"} <= set(lineage["09-preferences-v2"].parents)
    assert {"03-sft-v1", "04-sft-v2"} <= set(lineage["05-preferences-v1"].parents)


def test_the_second_version_opens_the_bag_and_learns_ghost_dialogs(run: Path) -> None:
    first, second = (results(run / name) for name in ("08-rejection-v1", "13-rejection-v2"))
    assert first["ghost_dialogs"] == 0
    assert second["ghost_dialogs"] == results(run / "12-ghost-v2")["dialogs"] > 0
    assert set(first["bag"]) == {"v1"}
    assert set(second["bag"]) == {"v1", "v2"}
    assert second["bag"]["v1"]["chosen"] > 0


def test_the_general_model_learns_open_data_alone_and_watches(run: Path) -> None:
    found = results(run / "14-reward-general")
    assert found["pairs"] == 80
    lineage = read_lineage(run)
    assert lineage["15-ppo-v2"].parents[-1] == "14-reward-general"
    names = [one.name for one in ancestry(lineage, "13-rejection-v2")]
    assert "14-reward-general" not in names
    assert "08-rejection-v1" in names


def test_all_versions_are_judged_by_the_last_reward_models(run: Path) -> None:
    found = results(run / "16-evaluate")
    assert found["baseline"] == "sft-v2"
    assert found["versions"] == [
        "base",
        "sft-v1",
        "sft-v2",
        "rejection-v1",
        "rejection-v2",
        "ppo-v2",
    ]
    pairs = {(row["a"], row["b"]) for row in found["paired_rewards"]}
    assert ("ppo-v2", "sft-v2") in pairs
    assert ("rejection-v2", "rejection-v1") in pairs
    assert ("ppo-v2", "sft-v1") not in pairs
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Version by version" in page
    assert "vNone" not in page


def test_the_bag_is_worth_a_page(recipe: Recipe, run: Path, tmp_path: Path) -> None:
    one_seed = load_recipe("tiny", VERSIONS | {"ablation.seeds": 1})
    # A run with an outside judge: the study asks nobody, or this address would end it.
    judged = load_recipe("tiny", VERSIONS | {"evaluate.judge.url": "http://127.0.0.1:9/v1"})
    shutil.copytree(run, tmp_path / "judged")
    (tmp_path / "judged" / "recipe.toml").write_text(to_toml(judged))
    page = ablate_bag(one_seed, tmp_path / "study", lambda line: None, [tmp_path / "judged"])
    found = results(tmp_path / "study")
    assert found["version"] == "v2"
    assert found["targets"]["all"][0] > found["targets"]["newest"][0] > 0
    assert found["targets"]["longer"] == found["targets"]["newest"]
    assert found["steps"]["all"] == found["steps"]["longer"]
    assert found["steps"]["all"][0] > found["steps"]["newest"][0] > 0
    for category in found["categories"].values():
        difference = category["all"]["mean"] - category["newest"]["mean"]
        assert category["all"]["minus_newest"]["value"] == pytest.approx(difference)
        difference = category["all"]["mean"] - category["longer"]["mean"]
        assert category["all"]["minus_longer"]["value"] == pytest.approx(difference)
    assert "The bag of all versions" in page.read_text(encoding="utf-8")


def test_a_run_without_a_bag_is_refused(run: Path, tmp_path: Path) -> None:
    study: Callable[..., Path] = ablate_bag
    with pytest.raises(UserError, match="ends with V1, the bag is opened at V4; say --versions"):
        study(load_recipe("tiny", SMALL), tmp_path / "study", lambda line: None)
    half = tmp_path / "half"
    shutil.copytree(run, half)
    shutil.rmtree(half / "11-reward-safety-v2")
    with pytest.raises(
        UserError, match="11-reward-safety-v2: not finished; --from-run takes a run"
    ):
        study(load_recipe("tiny", VERSIONS), tmp_path / "study", lambda line: None, [half])
