"""Names, colours and numbers as the pages of an ablation show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arriero.road.report.blocks import Cell

Json = Mapping[str, Any]

HALF = "half"
"""MHA with half the context."""

LABELS = {"mha": "MHA", "gqa-8": "GQA-8", "mqa": "MQA", HALF: "MHA, half context"}
ROLES = {"mha": "blue", "gqa-8": "amber", "mqa": "green", HALF: "purple"}


def loss(value: float) -> str:
    """1.23456 -> `1.235`."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """-0.01234 -> `−0.012`."""
    return f"{value:+.3f}".replace("-", "−")


def gib(size: float) -> str:
    """Bytes as `390 GiB`, `1.5 GiB`, `12 MiB` or `48 KiB`."""
    units = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
    name = next((name for name, unit in units.items() if size >= unit), "KiB")
    number = size / units[name]
    return f"{number:,.0f} {name}" if number >= 99.5 else f"{number:.3g} {name}"


def change(share: float, digits: int = 1) -> str:
    """-0.0032 -> `−0.3%`; what rounds to nothing has no sign."""
    shown = f"{100 * share:+.{digits}f}%".replace("-", "−")
    return shown if shown.strip("+−0.%") else shown[1:]


def seed_range(values: Json) -> str:
    """The least and the most of all seeds; empty for one."""
    if len(values["seeds"]) == 1:
        return ""
    return f"{loss(values['low'])} to {loss(values['high'])}"


def difference_cell(difference: Json) -> Cell:
    """A paired difference with its interval, if there is one."""
    small = ""
    if difference["low"] is not None:
        small = f"{signed(difference['low'])} to {signed(difference['high'])}"
    return Cell(signed(difference["value"]), small)
