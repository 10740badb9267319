"""Utilisation, memory and energy by hand; what is measured, by what it must be able to see."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from arriero.equations.carbon import co2_tonnes
from arriero.training.figures import (
    Machine,
    Tally,
    matmul_flops,
    memory_now,
    standing_figures,
    utilisation,
)

CPU = torch.device("cpu")


def test_utilisation_by_hand() -> None:
    assert utilisation(30.0, 2.0, 60.0) == 0.25
    assert utilisation(0.0, 0.0, 60.0) == 0.0


def test_a_tally_counts_what_was_computed_and_begins_anew() -> None:
    def loss_sum(batch: int) -> torch.Tensor:
        return torch.tensor(float(batch))

    def flops(batch: int) -> float:
        return 10.0 * batch

    tally = Tally(loss_sum, flops)
    assert float(tally(3)) == 3.0
    tally(4)
    assert tally.take() == 70.0
    assert tally.take() == 0.0
    tally(1)
    assert tally.take() == 10.0


def test_the_ceiling_is_what_a_product_of_its_own_reaches() -> None:
    """Two measurements of one machine, this one slow and plain, agree within a factor of two."""
    x = torch.randn(1024, 1024)
    times: list[float] = []
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(x, x)
        times.append(time.perf_counter() - began)
    plain = 2 * 1024**3 / min(times)
    assert 0.5 < matmul_flops(CPU, torch.float32) / plain < 2.0


def test_the_ceiling_is_measured_once() -> None:
    assert matmul_flops(CPU, torch.float32) == matmul_flops(CPU, torch.float32)


def test_an_hour_by_hand() -> None:
    """An hour at 400 W and 0.4235 kg a kWh: 400 Wh, 169.4 g."""
    figures = standing_figures(Machine(CPU, 1e9, 400.0), 3600.0)
    assert figures["energy_wh"] == pytest.approx(400.0)
    assert figures["co2_g"] == pytest.approx(169.4)
    assert figures["memory_gb"] > 0.01


def test_table_2_in_grams() -> None:
    """184,320 device hours of 400 W are the 31.22 t of the 7B model."""
    figures = standing_figures(Machine(CPU, 1e15, 400.0), 184_320 * 3600.0)
    assert figures["co2_g"] / 1e6 == pytest.approx(co2_tonnes(184_320, 400.0))
    assert figures["co2_g"] / 1e6 == pytest.approx(31.22, abs=0.01)


def test_another_grid_and_power() -> None:
    figures = standing_figures(Machine(CPU, 1e9, 100.0, carbon_intensity=0.1), 7200.0)
    assert figures["energy_wh"] == pytest.approx(200.0)
    assert figures["co2_g"] == pytest.approx(20.0)


def test_memory_now_sees_what_is_held() -> None:
    before = memory_now(CPU)
    held = torch.ones(64 * 2**20)  # 256 MiB, each page written
    during = memory_now(CPU)
    assert before is not None
    assert during is not None
    assert during - before > 0.9 * held.nbytes


def test_the_peak_remembers_what_is_no_longer_held() -> None:
    """In a process of its own: a peak never goes down."""
    script = """
import torch
from arriero.training.figures import memory_now, memory_peak
cpu = torch.device("cpu")
before = memory_peak(cpu)
held = torch.ones(128 * 2**20)
del held
print(memory_peak(cpu) - before, memory_peak(cpu) - memory_now(cpu))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    grown, above_now = map(int, result.stdout.split())
    assert grown > 0.8 * 512 * 2**20
    assert above_now > 0.8 * 512 * 2**20
