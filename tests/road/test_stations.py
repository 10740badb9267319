"""The stations: in order, each bound to the earlier ones that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment.bag import Origin, Samples, write_part
from arriero.cli import STAGE_VERBS
from arriero.records import Message, Prompt
from arriero.road.manifest import stage_key
from arriero.road.recipe import load_recipe
from arriero.road.run import Step
from arriero.road.stations import stations
from arriero.stages import reward
from arriero.stages.workspace import Workspace

from .test_run import STAGES


def keys(steps: list[Step]) -> dict[str, str]:
    """The keys of all stages, as a run would reach them."""
    found: dict[str, str] = {}
    for step in steps:
        inputs = {name: found[name] for name in step.needs}
        if external := step.external():
            inputs["files"] = external
        found[step.name] = stage_key(step.name, "1", 0, step.config, inputs)
    return found


def own_files(folder: Path) -> dict[str, Any]:
    text, rows = folder / "text.txt", folder / "rows.jsonl"
    text.write_text("some words")
    rows.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    names = {"corpus": text, "instructions": rows, "helpfulness": rows, "safety": rows}
    return {"data.source": "files"} | {f"data.{key}": [str(path)] for key, path in names.items()}


def test_all_stages_in_order(tmp_path: Path) -> None:
    steps = stations(load_recipe("tiny"), tmp_path)
    assert [step.name for step in steps] == STAGES
    verbs = [step.verb for step in steps]
    assert list(dict.fromkeys(verbs)) == ["inputs", *(v for v in STAGE_VERBS if v != "ghost")]
    for number, step in enumerate(steps):
        assert set(step.needs) <= set(STAGES[:number])
        json.dumps(step.config)  # it goes into a hash


@pytest.mark.parametrize("from_files", [False, True])
@pytest.mark.parametrize(
    ("key", "value", "first"),
    [
        ("data.world.seed", 5, "00-inputs"),
        ("tokenizer.max_megabytes", 2.0, "01-tokenizer"),
        ("model.vocab_size", 1300, "01-tokenizer"),
        ("pretrain.num_tokens", 1_000_000, "02-pretrain"),
        ("model.dim", 48, "02-pretrain"),
        ("data.max_dialogs", 9, "00-inputs"),
        ("sft.epochs", 3, "03-sft"),
        ("preferences.test_share", 0.2, "04-preferences-v1"),
        ("reward.margin", "large", "05-reward-helpfulness-v1"),
        ("rejection.sft_share", 0.1, "07-rejection-v1"),
        ("ppo.clip", 0.1, "08-ppo-v1"),
        ("evaluate.temperature", 0.1, "09-evaluate"),
        ("evaluate.judge.url", "http://127.0.0.1:8000/v1", "09-evaluate"),
        ("evaluate.judge.pairs", 7, "09-evaluate"),
        ("watts", 1.0, None),
        ("name", "other", None),
    ],
)
def test_a_changed_key_changes_its_stage_and_those_after_it(
    tmp_path: Path, from_files: bool, key: str, value: Any, first: str | None
) -> None:
    base = own_files(tmp_path) if from_files else {}
    before = keys(stations(load_recipe("tiny", base), tmp_path))
    after = keys(stations(load_recipe("tiny", base | {key: value}), tmp_path))
    changed = [name for name in STAGES if before[name] != after[name]]
    expected = STAGES[STAGES.index(first) :] if first else []
    if from_files and first in ("02-pretrain", "03-sft"):
        # One's own comparisons follow from the tokenizer, not from a model.
        expected = [name for name in expected if name != "04-preferences-v1"]
    assert changed == expected


def test_the_samples_of_another_run_are_seen(tmp_path: Path) -> None:
    other = tmp_path / "other" / "07-rejection-v1"
    row = Samples(
        Prompt("p0", (Message("user", "Who?"),)), ("I",), (True,), (1.0,), (1.0,), (1.0,),
        Origin("v1", 1.0, "", "", ""),
    )  # fmt: skip
    write_part(other, 0, [row])
    recipe = load_recipe("tiny", {"rejection.samples_from": str(other.parent)})
    before = keys(stations(recipe, tmp_path))
    write_part(other, 1, [row])
    after = keys(stations(recipe, tmp_path))
    changed = [name for name in STAGES if before[name] != after[name]]
    assert changed == STAGES[STAGES.index("07-rejection-v1") :]


def test_the_context_decides_which_comparisons_fit(tmp_path: Path) -> None:
    base = own_files(tmp_path)
    names = [
        keys(stations(load_recipe("tiny", base | {"model.context": context}), tmp_path))
        for context in (256, 512)
    ]
    assert names[0]["04-preferences-v1"] != names[1]["04-preferences-v1"]


def test_changed_files_of_ones_own_are_seen(tmp_path: Path) -> None:
    recipe = load_recipe("tiny", own_files(tmp_path))
    before = keys(stations(recipe, tmp_path))
    (tmp_path / "text.txt").write_text("other words")
    after = keys(stations(recipe, tmp_path))
    assert all(before[name] != after[name] for name in STAGES)


def test_open_comparisons_of_the_world_are_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []

    def watched(config: Any, *, train: Any, **rest: Any) -> None:
        read.append([path.name for path in train["safety"]])

    monkeypatch.setattr(reward, "run", watched)
    changes = {"data.world.open_comparisons": 5, "mix.open": ["crowd"]}
    chains: list[dict[str, str]] = []
    for overrides in ({}, changes):
        steps = stations(load_recipe("tiny", overrides), tmp_path)
        chains.append(keys(steps))
        next(step for step in steps if step.verb == "reward").run(
            Workspace(tmp_path, 0, torch.device("cpu"), lambda line: None)
        )
    assert read == [["safety-train.jsonl"], ["safety-train.jsonl", "open-safety.jsonl"]]
    assert chains[0]["05-reward-helpfulness-v1"] != chains[1]["05-reward-helpfulness-v1"]


def test_the_last_key_of_a_chain_holds_the_first(tmp_path: Path) -> None:
    """PPO reads the reward models, so what they were trained on is in its key."""
    steps = {step.name: step for step in stations(load_recipe("tiny"), tmp_path)}
    reached, waiting = set[str](), ["08-ppo-v1"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting.extend(steps[name].needs)
    assert reached == set(STAGES[:9])
