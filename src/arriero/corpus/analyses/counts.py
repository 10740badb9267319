"""Counts that add up: whole numbers under keys, so that any order and any cut give the same sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

Key = tuple[str, ...]
Counts = Counter[Key]
"""How often each key was counted; a key that was not has 0."""


def added(parts: Iterable[Counts]) -> Counts:
    """The sum of several counts.

    >>> added([Counter({("a",): 1}), Counter({("a",): 2, ("b",): 1})])[("a",)]
    3
    """
    total: Counts = Counter()
    for part in parts:
        total.update(part)
    return total


def share(number: int, base: int) -> float | None:
    """number / base; None of nothing.

    >>> share(1, 4)
    0.25
    """
    return number / base if base else None
