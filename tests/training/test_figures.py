"""Utilisation, memory and energy by hand; what is measured, by what it must be able to see."""

from __future__ import annotations

import mmap
import subprocess
import sys
import time

import pytest
import torch

from arriero.equations.carbon import co2_tonnes
from arriero.training import figures
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
    """Two measurements of one machine, this one plain; wide apart only where others work on it."""
    x = torch.randn(512, 512)
    times: list[float] = []
    for _ in range(100):
        began = time.perf_counter()
        torch.mm(x, x)
        times.append(time.perf_counter() - began)
    plain = 2 * 512**3 / min(times)
    assert 0.1 < matmul_flops(CPU, torch.float32) / plain < 10.0


@pytest.mark.parametrize(
    ("flops_per_s", "sizes"),
    [
        (0.5e9, [256]),  # the next product, three times, would take 1.6 s
        (50e9, [256, 512, 1024]),
        (1000e9, [256, 512, 1024, 2048]),  # the largest, however fast
    ],
)
def test_a_slow_machine_is_measured_on_small_products(
    flops_per_s: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def of_a_machine(x: torch.Tensor) -> float:
        tried.append(len(x))
        return 2 * len(x) ** 3 / flops_per_s

    monkeypatch.setattr(figures, "_product_seconds", of_a_machine)
    figures._measured_flops.cache_clear()
    assert matmul_flops(CPU, torch.float32) == pytest.approx(flops_per_s)
    figures._measured_flops.cache_clear()
    assert tried == sizes


def test_the_ceiling_is_measured_once() -> None:
    assert matmul_flops(CPU, torch.float32) == matmul_flops(CPU, torch.float32)


def test_an_hour_by_hand() -> None:
    """An hour at 400 W and 0.4235 kg a kWh: 400 Wh, 169.4 g."""
    shown = standing_figures(Machine(CPU, 1e9, 400.0), 3600.0)
    assert shown["energy_wh"] == pytest.approx(400.0)
    assert shown["co2_g"] == pytest.approx(169.4)
    assert shown["memory_gb"] > 0.01


def test_table_2_in_grams() -> None:
    """184,320 device hours of 400 W are the 31.22 t of the 7B model."""
    shown = standing_figures(Machine(CPU, 1e15, 400.0), 184_320 * 3600.0)
    assert shown["co2_g"] / 1e6 == pytest.approx(co2_tonnes(184_320, 400.0))
    assert shown["co2_g"] / 1e6 == pytest.approx(31.22, abs=0.01)


def test_another_grid_and_power() -> None:
    shown = standing_figures(Machine(CPU, 1e9, 100.0, carbon_intensity=0.1), 7200.0)
    assert shown["energy_wh"] == pytest.approx(200.0)
    assert shown["co2_g"] == pytest.approx(20.0)


def test_memory_now_sees_what_is_held() -> None:
    before = memory_now(CPU)
    # 256 MiB, each page written; not the allocator's, which may have pages left.
    with mmap.mmap(-1, 256 * 2**20) as held:
        held.write(bytes(len(held)))
        during = memory_now(CPU)
    assert before is not None
    assert during is not None
    assert during - before > 0.9 * 256 * 2**20


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
