"""Manifests: what makes a stage's key, and what counts as its output."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from arriero.road.manifest import (
    Manifest,
    hash_inputs,
    hash_outputs,
    is_intact,
    read_manifest,
    stage_key,
    write_manifest,
)

FACTS: dict[str, Any] = {
    "stage": "03-sft",
    "version": "1.0",
    "seed": 0,
    "config": {"epochs": 2, "optimizer": {"peak": 1e-3}},
    "inputs": {"02-pretrain": "abc"},
}


def manifest(**more: Any) -> Manifest:
    plain = Manifest("03-sft", "1.0", 0, "key", {}, {}, 1.5, 65.0, 0.1, 0.2, 0.5)
    return replace(plain, **more)


def test_a_key_follows_from_all_its_facts_and_nothing_else() -> None:
    key = stage_key(**FACTS)
    assert key == stage_key(**FACTS)
    reordered = FACTS.copy()
    reordered["config"] = {"optimizer": {"peak": 1e-3}, "epochs": 2}
    assert stage_key(**reordered) == key
    changes: list[dict[str, Any]] = [
        {"stage": "02-pretrain"},
        {"version": "1.1"},
        {"seed": 1},
        {"config": {"epochs": 3, "optimizer": {"peak": 1e-3}}},
        {"inputs": {"02-pretrain": "abd"}},
        {"inputs": {}},
    ]
    changed = [stage_key(**FACTS | change) for change in changes]
    assert len({key, *changed}) == 7


def test_it_survives_the_disk(tmp_path: Path) -> None:
    written = manifest(outputs={"results.json": "1"})
    write_manifest(tmp_path, written)
    assert read_manifest(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"stage": "x"}'])
def test_one_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text(text)
    assert read_manifest(tmp_path) is None


def test_outputs_are_what_others_read(tmp_path: Path) -> None:
    for name in ("results.json", "model/config.json", "answers/sft.jsonl", "checkpoints/step-1/x",
                 "metrics.jsonl", "started.json", "manifest.json", ".hidden"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert hash_outputs(tmp_path).keys() == {
        "results.json",
        "model/config.json",
        "answers/sft.jsonl",
    }


def test_a_change_or_a_loss_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    found = manifest(outputs=hash_outputs(tmp_path))
    assert is_intact(tmp_path, found)
    (tmp_path / "more").write_text("no harm")
    assert is_intact(tmp_path, found)
    (tmp_path / "a").write_text("onf")
    assert not is_intact(tmp_path, found)
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").unlink()
    assert not is_intact(tmp_path, found)


def test_inputs_by_name_content_and_order(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    a.write_text("one")
    b.write_text("two")
    c.write_text("one")
    plain = hash_inputs({"books": [a, b]})
    others = [{"books": files} for files in ([b, a], [a], [c, b])]
    assert len({plain, *map(hash_inputs, others)}) == 4
    a.write_text("One")
    assert hash_inputs({"books": [a, b]}) != plain


def test_a_file_that_moves_from_one_source_to_the_next_is_another_input(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    for path in (a, b, c):
        path.write_text("one")
    parts = [
        {"books": [a, b], "web": [c]},
        {"books": [a], "web": [b, c]},
        {"web": [a, b], "books": [c]},
        {"all": [a, b, c]},
    ]
    assert len(set(map(hash_inputs, parts))) == len(parts)


def test_figures_of_energy_stand_beside_the_key() -> None:
    assert {"seconds", "watts", "energy_wh", "co2_g", "key"} <= asdict(manifest()).keys()
