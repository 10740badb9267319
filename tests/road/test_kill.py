"""kill -9 in every stage, then the same command: it goes on and ends with the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arriero.road.recipe import Recipe, to_toml

from .test_run import STAGES

pytestmark = pytest.mark.slow

# What appears in a stage's folder once it has done some work but not all of it.
UNDER_WAY = {
    "00-inputs": "corpus.jsonl",
    "02-pretrain": "checkpoints/step-00000010",
    "03-sft": "checkpoints/step-00000003",
    "04-preferences-v1": "helpfulness-train.jsonl",
    "05-reward-helpfulness-v1": "checkpoints/step-00000002",
    "06-reward-safety-v1": "checkpoints/step-00000002",
    "07-rejection-v1": "checkpoints/step-00000001",
    "08-ppo-v1": "checkpoints/step-00000002",
    "09-evaluate": "answers/sft-ordinary.jsonl",
}


def start(recipe: Path, run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "arriero.cli", "run", str(recipe), "--run", str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def kill_when(process: subprocess.Popen[bytes], sign: Path) -> None:
    deadline = time.monotonic() + 120
    while not sign.exists():
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < deadline, f"{sign} did not appear"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.timeout(600)
def test_killed_in_every_stage(small_recipe: Recipe, finished_run: Path, tmp_path: Path) -> None:
    recipe, run = tmp_path / "small.toml", tmp_path / "run"
    recipe.write_text(to_toml(small_recipe))
    for stage in STAGES:
        sign = run / stage / UNDER_WAY.get(stage, "started.json")
        kill_when(start(recipe, run), sign)
        assert not (run / stage / "manifest.json").exists()
    process = start(recipe, run)
    output = process.communicate(timeout=200)[0].decode()
    assert process.returncode == 0, output
    weights = sorted(finished_run.glob("*/model/model.safetensors"))
    assert len(weights) == 6
    rows = sorted(finished_run.glob("*/*.jsonl"))
    rows = [path for path in rows if path.name != "metrics.jsonl"]
    for path in (*weights, *rows, finished_run / "09-evaluate" / "results.json"):
        again = run / path.relative_to(finished_run)
        assert again.read_bytes() == path.read_bytes(), path
    assert (run / "report.html").exists()
