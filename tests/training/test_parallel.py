"""Training on several ranks is the training on one: real processes, gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.records import UserError
from arriero.training.parallel import clip_gradients
from arriero.training.ranks import ParallelConfig, start_ranks

JOB = Path(__file__).parent / "jobs" / "steps.py"
pytestmark = pytest.mark.slow


def job(folder: Path, num_ranks: int, tensor: int, start: int, stop: int) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    steps = [str(JOB), str(folder), str(tensor), str(start), str(stop)]
    done = subprocess.run(
        [sys.executable, *launcher, *steps],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / f"out-{num_ranks}-{tensor}.pt", weights_only=True)


def sample_ids(found: dict[str, Any], tensor: int) -> list[tuple[int, tuple[int, ...]]]:
    """What the shares of the data took, each share once; empty passes take a batch again."""
    shares = found["taken"][::tensor]
    return sorted({(step, tuple(plan)) for taken in shares for step, plan in taken})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, job(folder, 1, 1, 0, 10)


@pytest.mark.parametrize(("num_ranks", "tensor"), [(2, 1), (2, 2), (4, 1), (4, 2)])
def test_ten_steps_are_those_of_one_process(
    alone: tuple[Path, dict[str, Any]], tmp_path: Path, num_ranks: int, tensor: int
) -> None:
    found = job(tmp_path / "ranks", num_ranks, tensor, 0, 10)
    reference = alone[1]
    assert found["losses"] == pytest.approx(reference["losses"], abs=1e-5)
    assert sample_ids(found, tensor) == sample_ids(reference, 1)
    for name, weight in reference["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, atol=2e-5, rtol=1e-4)


def test_a_job_goes_on_with_other_ranks(alone: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "moving"
    losses: list[float] = []
    for start, (num_ranks, tensor) in enumerate([(2, 1), (1, 1), (4, 2), (2, 2), (4, 1)]):
        found = job(folder, num_ranks, tensor, 2 * start, 2 * start + 2)
        losses += found["losses"]
    assert losses == pytest.approx(alone[1]["losses"], abs=1e-5)


def test_ranks_that_cannot_be_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match=r"3 ranks cannot be divided .* parallel.tensor = 2"):
        start_ranks(ParallelConfig(tensor=2), torch.device("cpu"))


def test_clipping_alone_is_that_of_torch() -> None:
    config = ModelConfig(
        vocab_size=11, dim=8, num_layers=1, num_heads=2, num_kv_heads=2, ffn_dim=8, context=8
    )
    first, second = (LanguageModel.fresh(config, 0) for _ in range(2))
    for model in (first, second):
        model(torch.arange(8)[None]).square().sum().backward()
    ours = clip_gradients(list(first.parameters()), 0.1)
    assert ours == pytest.approx(
        float(torch.nn.utils.clip_grad_norm_(second.parameters(), 0.1)), rel=1e-6
    )
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
