"""Adapters on several ranks learn what they learn on one: real processes, gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from arriero.data.writing import write_dialogs, write_preferences
from arriero.model.weights import load_language_model, load_score_model
from arriero.records import Dialog, Message, Preference

from .conftest import WORDS

JOB = Path(__file__).parent / "jobs" / "adapters.py"
pytestmark = pytest.mark.slow


def job(stage: str, chat: Path, place: Path, num_ranks: int, tensor: int = 1) -> Path:
    folder = place / f"{stage}-{num_ranks}-{tensor}"
    folder.mkdir()
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    what = [str(JOB), stage, str(chat), str(place / f"{stage}.jsonl"), str(folder), str(tensor)]
    done = subprocess.run(
        [sys.executable, *(launcher if num_ranks > 1 else []), *what],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with data for both stages."""
    prompts = [(Message("user", f"{WORDS[n % 14]} {n}"),) for n in range(60)]
    answered = [Dialog(p).answered(WORDS[(n + 3) % 14]) for n, p in enumerate(prompts)]
    write_dialogs(tmp_path / "sft.jsonl", answered)
    write_preferences(
        tmp_path / "reward.jsonl", [Preference(p, "yes please", "wool") for p in prompts]
    )
    return tmp_path


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_ranks_learn_what_one_process_learns(chat_folder: Path, place: Path, stage: str) -> None:
    load = load_language_model if stage == "sft" else load_score_model
    alone = job(stage, chat_folder, place, 1)
    reference = load(alone / "model").state_dict()
    found = job(stage, chat_folder, place, 2)
    assert len(losses(found)) > 7
    assert losses(found) == pytest.approx(losses(alone), abs=1e-5)
    for name, weight in load(found / "model").state_dict().items():
        torch.testing.assert_close(weight, reference[name], atol=2e-5, rtol=1e-4)


def test_adapters_are_not_cut_up(chat_folder: Path, place: Path) -> None:
    folder = job("sft", chat_folder, place, 2, tensor=2)
    assert "say --parallel.tensor 1" in (folder / "refused.txt").read_text()
    assert not (folder / "model").exists()
