"""`torchrun` over whole stages: the same result as alone, stopped, killed, gone on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from arriero.road.recipe import Recipe, to_toml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNTIL = "reward"
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(recipe: Path, run: Path, *options: str) -> subprocess.Popen[str]:
    # "--": torchrun would take --run for an abbreviation of an option of its own.
    verb = ["-m", "arriero.cli", "--", "run", str(recipe), "--run", str(run), *options]
    return subprocess.Popen(
        [sys.executable, *LAUNCHER, *verb],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def losses(run: Path, stage: str) -> list[float]:
    lines = (run / stage / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def rank_pids(launcher: subprocess.Popen[str]) -> list[int]:
    """The ranks that a launcher has started, in order."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return sorted(pid for pid, name in names.items() if b"arriero.cli" in name)


def wait_for(sign: Path, launcher: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not sign.exists():
        assert launcher.poll() is None, launcher.communicate()[0]
        assert time.monotonic() < deadline, f"{sign} did not appear"
        time.sleep(0.01)


def test_two_ranks_stopped_and_killed(
    small_recipe: Recipe, finished_run: Path, tmp_path: Path
) -> None:
    pretrain: dict[str, Any] = {"checkpoint_every": 4}
    changed = small_recipe.pretrain.model_copy(update=pretrain)
    recipe, run = tmp_path / "small.toml", tmp_path / "run"
    recipe.write_text(to_toml(small_recipe.model_copy(update={"pretrain": changed})))
    checkpoints = run / "02-pretrain" / "checkpoints"

    launcher = start(recipe, run, "--until", UNTIL)
    wait_for(checkpoints / "step-00000004", launcher)
    began = time.monotonic()
    launcher.send_signal(signal.SIGTERM)
    said = launcher.communicate(timeout=60)[0]
    assert time.monotonic() - began < 25
    assert "stopped and saved; the same command goes on" in said
    saved = max(int(path.name[5:]) for path in checkpoints.glob("step-*"))

    launcher = start(recipe, run, "--until", UNTIL)
    sign = checkpoints / f"step-{(saved // 4 + 2) * 4:08d}"
    wait_for(sign, launcher)
    os.kill(rank_pids(launcher)[1], signal.SIGKILL)
    said = launcher.communicate(timeout=120)[0]
    assert launcher.returncode
    assert f"going on from step {saved}" in said
    assert re.search(r"rank +: 1 .*exitcode +: -9", said, re.DOTALL), said
    assert "rank 0 waits for rank 1, gone or hanging" in said

    launcher = start(recipe, run, "--until", UNTIL)
    said = launcher.communicate(timeout=300)[0]
    assert launcher.returncode == 0, said
    for stage in ("02-pretrain", "03-sft", "05-reward-helpfulness-v1"):
        assert (run / stage / "model" / "model.safetensors").exists()
        assert len(losses(run, stage)) == len(losses(finished_run, stage))
    # Later stages start from weights that differ in the last bits.
    assert losses(run, "02-pretrain") == pytest.approx(
        losses(finished_run, "02-pretrain"), abs=1e-5
    )
