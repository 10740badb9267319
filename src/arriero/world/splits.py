"""Which combinations training may ask: a stable hash orders them, and shares cut the order.

Preferences, rejection sampling and PPO share the training combinations with other wordings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

Part = Literal["training", "held_out", "test"]
SHARE_TEST = 0.20
SHARE_HELD_OUT = 0.05
PART_OF_SPLIT: dict[str, Part] = {
    "preferences": "training",
    "rejection": "training",
    "ppo": "training",
    "held_out": "held_out",
    "test": "test",
}


def place_of(seed: int, combination: str) -> float:
    """A number in [0, 1) that is the same in every process."""
    digest = hashlib.sha256(f"{seed}/{combination}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def part_at(place: float) -> Part:
    """The part at a place in the order."""
    if place < SHARE_TEST:
        return "test"
    return "held_out" if place < SHARE_TEST + SHARE_HELD_OUT else "training"


def parts_of(seed: int, combinations: Iterable[str]) -> dict[str, Part]:
    """Parts of a group of combinations, with shares as exact as whole numbers allow."""
    order = sorted(set(combinations), key=lambda combination: place_of(seed, combination))
    return {c: part_at((rank + 0.5) / len(order)) for rank, c in enumerate(order)}
