"""Where a model comes from, as the file and the command tell it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.records import UserError
from arriero.road.lineage import LINEAGE, ancestry, read_lineage, write_lineage
from arriero.road.manifest import Manifest, write_manifest
from arriero.road.run import Step


def finished(run: Path, name: str, key: str, inputs: dict[str, str], **outputs: str) -> Step:
    folder = run / name
    folder.mkdir(parents=True)
    named = {path.replace("__", "/").replace("_dot_", "."): hash for path, hash in outputs.items()}
    write_manifest(folder, Manifest(name, "1.0", 3, key, inputs, named, 1.0, 65.0, 1.0, 1.0))
    return Step(name, name[3:], {"peak": 0.5}, tuple(i for i in inputs if i != "files"), _nothing)


def _nothing(_: object) -> None:
    return None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    steps = [
        finished(run, "00-inputs", "k0", {"files": "f0"}, rows_dot_jsonl="aa"),
        finished(run, "01-base", "k1", {"00-inputs": "k0"}, model__model_dot_safetensors="bb"),
        finished(run, "02-aside", "k2", {"00-inputs": "k0"}),
        finished(run, "03-chat", "k3", {"01-base": "k1"}, model__model_dot_safetensors="cc"),
        finished(run, "04-stale", "k4", {"01-base": "of another base"}),
    ]
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
