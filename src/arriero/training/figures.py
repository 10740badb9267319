"""What a step cost: share of the machine's own ceiling, memory, waiting for data, energy, carbon.

The ceiling is measured, not looked up: the rate of plain matrix products on this very machine. The
utilisation of it (MFU) counts the products that the model needs, not what is computed twice.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import torch

from arriero.equations.carbon import GRID_INTENSITY, co2_tonnes, energy_kwh

Batch = TypeVar("Batch")

_SMALLEST_PRODUCT = 256
_LARGEST_PRODUCT = {"cpu": 2048, "cuda": 8192}
_LEAST_PRODUCTS = 3
_LEAST_SECONDS_A_SIZE = 0.05
_MOST_SECONDS_A_SIZE = 0.6


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures of a stage are measured against.

    Attributes:
        device: whose memory is shown.
        flops_per_s: floating-point operations a second that all devices of the job reach in plain
            matrix products together; see `matmul_flops`.
        watts: power of all devices together.
        carbon_intensity: kg CO2eq a kWh.
        data_ranks: ranks that take turns at the data; each computes about as much as this one.
    """

    device: torch.device
    flops_per_s: float
    watts: float
    carbon_intensity: float = GRID_INTENSITY
    data_ranks: int = 1


class Tally(Generic[Batch]):
    """A loss that counts the operations of the batches that it is asked for.

    Args:
        loss_sum: the loss of a batch.
        flops: operations of a batch, forward and backward, as the model needs them.
    """

    def __init__(
        self, loss_sum: Callable[[Batch], torch.Tensor], flops: Callable[[Batch], float]
    ) -> None:
        self._loss_sum, self._flops_of = loss_sum, flops
        self._flops = 0.0

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        self._flops += self._flops_of(batch)
        return self._loss_sum(batch)

    def take(self) -> float:
        """Operations on this rank since this was last asked."""
        taken, self._flops = self._flops, 0.0
        return taken


def matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of this process in square matrix products: the best of some.

    The products grow until they take long enough: a CPU without instructions for bfloat16 is some
    sixty times slower in it. Measured in a few tenths of a second, once a process for each number
    of threads that PyTorch has.
    """
    return _measured_flops(device, dtype, torch.get_num_threads())


@cache
def _measured_flops(device: torch.device, dtype: torch.dtype, _: int) -> float:
    generator = torch.Generator().manual_seed(0)
    largest = _LARGEST_PRODUCT.get(device.type, _LARGEST_PRODUCT["cpu"])
    size, best = _SMALLEST_PRODUCT, 0.0
    while True:
        # Random numbers: a device draws less power for constants, and so runs faster than it can.
        x = torch.randn(size, size, generator=generator).to(device, dtype)
        seconds = _product_seconds(x)
        best = max(best, 2.0 * size**3 / seconds)
        if size == largest or 8 * seconds * _LEAST_PRODUCTS > _MOST_SECONDS_A_SIZE:
            return best
        size *= 2


def utilisation(flops: float, seconds: float, flops_per_s: float) -> float:
    """MFU: 30 operations in 2 seconds on a machine that does 60 a second -> 0.25."""
    return flops / (max(seconds, 1e-9) * flops_per_s)


def memory_now(device: torch.device) -> int | None:
    """Bytes held now: by tensors on a GPU, by the whole process on the CPU; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return resident * os.sysconf("SC_PAGE_SIZE")


def memory_peak(device: torch.device) -> int:
    """Most bytes held at once since the process began; of what, as `memory_now`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        # Not getrusage: what started the process, if it was larger, lends it its own peak there.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def standing_figures(machine: Machine, elapsed: float) -> dict[str, float]:
    """What holds at any moment: memory in GB, energy in Wh and carbon in g after so many seconds.

    Worked example: an hour at 400 W is 400 Wh and, at 0.4235 kg a kWh, 169.4 g.
    """
    hours = elapsed / 3600
    figures = {"memory_peak_gb": memory_peak(machine.device) / 1e9}
    now = memory_now(machine.device)
    if now is not None:
        figures["memory_gb"] = now / 1e9
    figures["energy_wh"] = energy_kwh(hours, machine.watts) * 1e3
    figures["co2_g"] = co2_tonnes(hours, machine.watts, machine.carbon_intensity) * 1e6
    return figures


def _product_seconds(x: torch.Tensor) -> float:
    """The shortest time of some products of a matrix with itself."""
    times: list[float] = []
    while len(times) < _LEAST_PRODUCTS or sum(times) < _LEAST_SECONDS_A_SIZE:
        began = time.perf_counter()
        product = x @ x
        float(product[0, 0])  # waits for the device
        times.append(time.perf_counter() - began)
    return min(times)
