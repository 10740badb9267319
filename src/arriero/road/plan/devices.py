"""What devices hold, reckon and draw: figures of their makers, none measured here.

Memory is what a program is given, not what the label says. The peak is that of dense bfloat16
matrix products with float32 sums; makers like to print twice as much, for sparse ones.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass

from arriero.records import UserError

GIB = 2**30
TERA = 1e12

# What the driver, the kernels and the communication take beside any tensor; a guess, about what
# PyTorch with NCCL shows on one of these.
_GPU_RUNTIME = 1.5 * GIB
# Python, PyTorch and what else a stage loads until its end, measured on Linux.
_CPU_RUNTIME = 0.4 * GIB


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator, or the share that a rank has of this machine.

    Attributes:
        memory: bytes.
        peak: floating-point operations a second of a dense bfloat16 matrix product.
        watts: rated power; what the recipe says for this machine.
        source: whose figures they are.
        runtime: bytes that are taken before the first tensor.
    """

    name: str
    title: str
    memory: float
    peak: float
    watts: float
    source: str
    runtime: float = _GPU_RUNTIME

    @property
    def is_gpu(self) -> bool:
        """Whether it is an accelerator."""
        return self.name != CPU


CPU = "cpu"
PAPERS_DEVICE = "a100-80gb"


def _gpu(name: str, title: str, gib: float, tflops: float, watts: float, source: str) -> Device:
    return Device(name, title, gib * GIB, tflops * TERA, watts, source)


DEVICES = {
    device.name: device
    for device in (
        _gpu("a100-40gb", "A100 40GB SXM", 39.4, 312, 400, "NVIDIA, A100 datasheet"),
        _gpu("a100-80gb", "A100 80GB SXM", 79.1, 312, 400, "NVIDIA, A100 datasheet"),
        _gpu("a100-80gb-pcie", "A100 80GB PCIe", 79.1, 312, 300, "NVIDIA, A100 datasheet"),
        _gpu("h100", "H100 SXM", 79.1, 989, 700, "NVIDIA, H100 datasheet"),
        _gpu("h100-pcie", "H100 PCIe", 79.1, 756, 350, "NVIDIA, H100 datasheet"),
        _gpu("h100-nvl", "H100 NVL", 93.1, 835, 400, "NVIDIA, H100 datasheet"),
        _gpu("h200", "H200 SXM", 139.7, 989, 700, "NVIDIA, H200 datasheet"),
        _gpu("b200", "B200", 178.0, 2250, 1000, "NVIDIA, HGX B200 datasheet"),
        _gpu("l4", "L4", 22.0, 121, 72, "NVIDIA, L4 datasheet"),
        _gpu("l40s", "L40S", 44.5, 362, 350, "NVIDIA, L40S datasheet"),
        _gpu("rtx-3090", "GeForce RTX 3090", 23.6, 71, 350, "NVIDIA, GA102 white paper"),
        _gpu("rtx-4090", "GeForce RTX 4090", 23.6, 165, 450, "NVIDIA, Ada white paper"),
        _gpu("mi300x", "Instinct MI300X", 191.5, 1307, 750, "AMD, MI300X data sheet"),
    )
}
"""Devices by name. Other figures for one of them: `dataclasses.replace`."""


def device_named(name: str) -> Device:
    """An accelerator by name, in capitals or not, with blanks or without.

    Raises:
        UserError: an unknown one, with the nearest known.
    """
    wanted = re.sub(r"[\s_-]+", "-", name.strip().lower()).removeprefix("nvidia-")
    if wanted in DEVICES:
        return DEVICES[wanted]
    near = difflib.get_close_matches(wanted, DEVICES, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}?" if near else ""
    known = ", ".join([CPU, *DEVICES])
    raise UserError(f"no device {name!r}; {hint} known are {known}".replace(";  ", "; "))


def this_machine(num_ranks: int, flops: float, watts: float) -> Device:
    """This machine's processor, shared by so many ranks.

    Args:
        flops: measured rate of its matrix products, all cores together.
        watts: power of the whole machine.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(
        CPU,
        "this machine's CPU" if num_ranks == 1 else f"1/{num_ranks} of this machine's CPU",
        memory / num_ranks,
        flops / num_ranks,
        watts / num_ranks,
        "measured here; watts of the recipe",
        _CPU_RUNTIME,
    )
