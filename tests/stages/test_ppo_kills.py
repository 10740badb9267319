"""kill -9 while PPO samples, scores or learns: the same command goes on and ends with the bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from arriero.stages.workspace import Workspace

from .conftest import learned, results, same_weights
from .test_ppo import Stage

JOB = Path(__file__).parent / "jobs" / "killed.py"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Lives:
    """Starts the job, with the same models and data each time."""

    def __init__(self, place: Path, chat: Path, rewards: tuple[Path, Path]) -> None:
        self._models, self._place = (chat, *rewards), place
        Stage(place, chat, rewards)  # writes the prompts

    def live(self, folder: Path, where: str = "nowhere", iteration: int = 0) -> int:
        """One process; its exit code."""
        done = subprocess.run(
            [
                *(sys.executable, str(JOB)),
                *map(str, (*self._models, self._place, folder)),
                *(where, str(iteration)),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
        return done.returncode


def test_killed_while_it_samples_scores_and_learns(
    tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]
) -> None:
    lives = Lives(tmp_path, chat_folder, reward_folders)
    calm, killed = (
        Workspace(tmp_path / name, 0, torch.device("cpu"), lambda line: None)
        for name in ("calm", "killed")
    )
    assert lives.live(calm.folder) == 0
    for where, iteration in (("sampling", 1), ("scoring", 3), ("updating", 4)):
        assert lives.live(killed.folder, where, iteration) == -signal.SIGKILL
        assert not (killed.folder / "results.json").exists()
    # Before the first checkpoint it began anew, then it went on from those that there were.
    assert (killed.checkpoints / "step-00000004").exists()
    assert lives.live(killed.folder) == 0
    assert same_weights(killed.model, calm.model)
    assert results(killed) == results(calm)
    assert learned(killed) == learned(calm)
    assert len(learned(calm)) == 5
