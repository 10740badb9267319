from __future__ import annotations

import os

import pytest

from arriero.records import UserError
from arriero.road.plan.devices import DEVICES, GIB, PAPERS_DEVICE, device_named, this_machine


@pytest.mark.parametrize("name", ["h200", "H200", " nvidia H200 ", "NVIDIA-h200"])
def test_names_in_many_spellings(name: str) -> None:
    assert device_named(name) is DEVICES["h200"]


def test_blanks_and_underscores_are_dashes() -> None:
    assert device_named("A100 80GB_PCIe").name == "a100-80gb-pcie"


def test_unknown_device_gets_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"no device 'h20'; did you mean h200\? known are cpu, a100"
    ):
        device_named("h20")


def test_unknown_device_without_a_near_one() -> None:
    with pytest.raises(UserError, match=r"^no device 'zzz'; known are cpu, "):
        device_named("zzz")


def test_the_papers_device() -> None:
    """Table 2 implies 400 W; 312 TFLOP/s are dense, 624 would be the sparse figure."""
    device = DEVICES[PAPERS_DEVICE]
    assert (device.peak, device.watts) == (312e12, 400)
    assert 79 * GIB < device.memory < 80 * GIB


def test_this_machine_is_shared_by_its_ranks() -> None:
    one, four = this_machine(1, 8e10, 60), this_machine(4, 8e10, 60)
    assert one.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert (four.memory, four.peak, four.watts) == (one.memory / 4, 2e10, 15)
    assert not four.is_gpu
    assert all(device.is_gpu for device in DEVICES.values())
