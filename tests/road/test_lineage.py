"""Where a model comes from, as the file and the command tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.records import UserError
from arriero.road.lineage import LINEAGE, ancestry, read_lineage, write_lineage
from arriero.road.manifest import Manifest, stage_key, write_manifest
from arriero.road.run import Step

CONFIG = {"peak": 0.5}


def finished(run: Path, name: str, inputs: dict[str, str], **outputs: str) -> tuple[Step, str]:
    """A stage that is done, and its key."""
    folder = run / name
    folder.mkdir(parents=True)
    named = {path.replace("__", "/").replace("_dot_", "."): hash for path, hash in outputs.items()}
    key = stage_key(name, "1.0", 3, CONFIG, inputs)
    write_manifest(folder, Manifest(name, "1.0", 3, key, inputs, named, 1.0, 65.0, 1.0, 1.0))
    needs = tuple(stage for stage in inputs if stage != "files")
    return Step(name, name[3:], CONFIG, needs, _nothing), key


def _nothing(_: object) -> None:
    return None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    first, k0 = finished(run, "00-inputs", {"files": "f0"}, rows_dot_jsonl="aa")
    base, k1 = finished(run, "01-base", {"00-inputs": k0}, model__model_dot_safetensors="bb")
    aside, _ = finished(run, "02-aside", {"00-inputs": k0})
    chat, _ = finished(run, "03-chat", {"01-base": k1}, model__model_dot_safetensors="cc")
    stale, _ = finished(run, "04-stale", {"01-base": "of another base"})
    steps = [first, base, aside, chat, stale]
    write_lineage(steps, run)
    return run


def test_a_model_has_its_ancestors_with_data_and_keys(run: Path) -> None:
    stages = read_lineage(run)
    assert list(stages) == ["00-inputs", "01-base", "02-aside", "03-chat"]
    found = ancestry(stages, "03-chat")
    assert [one.name for one in found] == ["00-inputs", "01-base", "03-chat"]
    first, _, last = found
    assert (first.files, dict(first.data)) == ("f0", {"rows.jsonl": "aa"})
    assert (last.model, last.parents, last.seed, last.config) == (
        "cc",
        ("01-base",),
        3,
        {"peak": 0.5},
    )


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", str(run / "03-chat" / "model")]) == 0
    shown = capsys.readouterr().out
    assert "02-aside" not in shown
    assert "model cc" in shown
    assert main(["lineage", str(run), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(read_lineage(run))


def test_what_cannot_be_told_is_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no stage '04-stale' in this run; there are 00-inputs"):
        ancestry(read_lineage(run), "04-stale")
    with pytest.raises(UserError, match=r"lineage\.json: not there"):
        read_lineage(tmp_path)
    (run / LINEAGE).write_text('{"stages": [1]}')
    with pytest.raises(UserError, match="not a lineage"):
        read_lineage(run)


def test_keys_are_those_that_a_stage_was_made_with(run: Path, tmp_path: Path) -> None:
    """A later command with other keys changes nothing about a stage that it did not make."""
    other = Step("03-chat", "chat", {"peak": 0.9}, ("01-base",), _nothing)
    write_lineage([other], run)
    assert read_lineage(run)["03-chat"].config == CONFIG
    (run / LINEAGE).unlink()
    write_lineage([other], run)
    assert read_lineage(run)["03-chat"].config is None


def test_a_misspelt_stage_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", str(run / "03-chta")]) == 2
    assert "no stage '03-chta' in this run; there are 00-inputs" in capsys.readouterr().err
