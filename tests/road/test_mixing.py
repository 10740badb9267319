"""Sources with weights on the whole way: the same on one process and on ranks, and mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arriero.road.drive import drive
from arriero.road.recipe import Recipe, load_recipe, to_toml
from arriero.world.documents import SOURCES

from .conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# The school books are few; three times in ten a row is of them.
WEIGHTS = {name: 3.0 if name == "school book" else 7 / 12 for name in SOURCES}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny", SMALL | {"data.weights": WEIGHTS, "pretrain.num_tokens": 20 * 1024})


@pytest.fixture(scope="module")
def alone(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "alone"
    drive(recipe, run, lambda line: None, until="pretrain")
    return run


def read(run: Path, name: str) -> list[dict[str, Any]]:
    text = (run / "02-pretrain" / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def sources(run: Path) -> list[dict[str, Any]]:
    return json.loads((run / "02-pretrain" / "results.json").read_text())["sources"]


def test_the_shares_that_were_asked_for(alone: Path) -> None:
    found = {source["name"]: source for source in sources(alone)}
    assert set(found) == set(SOURCES)
    rows = {name: source["tokens"] // 128 for name, source in found.items()}
    assert sum(rows.values()) == 160
    assert abs(rows["school book"] - 0.3 * 160) <= 1
    assert all(rows[name] in (9, 10) for name in SOURCES if name != "school book")
    assert found["school book"]["target_share"] == pytest.approx(0.3)
    assert all(source["held_out_rows"] >= 1 for source in found.values())
    page = (alone / "report.html").read_text()
    assert "Sources of the corpus" in page
    assert f"{found['school book']['share']:.2%}" in page


def test_two_ranks_read_what_one_process_reads(recipe: Recipe, alone: Path, tmp_path: Path) -> None:
    path, run = tmp_path / "small.toml", tmp_path / "run"
    path.write_text(to_toml(recipe))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    verb = ["-m", "arriero.cli", "--", "run", str(path), "--run", str(run), "--until", "pretrain"]
    done = subprocess.run(
        [sys.executable, *launcher, *verb],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (read(one, "metrics.jsonl") for one in (run, alone))
    assert [line["loss"] for line in ours] == pytest.approx(
        [line["loss"] for line in theirs], abs=1e-5
    )
    for one, other in zip(sources(run), sources(alone), strict=True):
        assert one.pop("valid_loss") == pytest.approx(other.pop("valid_loss"), abs=1e-4)
        assert one == other


def test_a_damaged_shard_of_a_finished_stage_costs_no_training(recipe: Recipe, alone: Path) -> None:
    stage = alone / "02-pretrain"
    shard = stage / "shard" / "005" / "tokens.bin"
    trained = (stage / "manifest.json").stat().st_mtime_ns
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    said: list[str] = []
    drive(recipe, alone, said.append, until="pretrain")
    line = f"[02-pretrain] {shard.parent}: tokens.bin does not have its hash any more; tokenising"
    assert any(one.startswith(line) for one in said), said
    assert shard.read_bytes() == whole
    assert (stage / "manifest.json").stat().st_mtime_ns == trained
