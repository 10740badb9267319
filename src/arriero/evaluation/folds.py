"""Parts of a set of pairs that share no prompt, for cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from arriero.records import Message, Preference, folded


def prompt_folds(
    pairs: Sequence[Preference], num_folds: int = 5, seed: int = 0
) -> list[list[Preference]]:
    """The pairs in parts of about the same size; pairs whose dialogs open alike stay together.

    Two dialogs that open with the same user's words often go on alike as well, so the opening
    decides and not the whole prompt. Case and spaces do not count. A pair's part follows from its
    opening and the seed, whatever else is there; within a part the order is kept.

    Raises:
        ValueError: fewer than two parts.
    """
    if num_folds < 2:
        raise ValueError(f"{num_folds} folds; two are needed at least")
    folds: list[list[Preference]] = [[] for _ in range(num_folds)]
    for pair in pairs:
        digest = hashlib.sha256(f"{seed} {opening(pair.prompt)}".encode("utf-8", "replace"))
        folds[int.from_bytes(digest.digest()[:8], "big") % num_folds].append(pair)
    return folds


def opening(prompt: Sequence[Message]) -> str:
    """The first thing the user says, without what case and spaces say."""
    first = next((turn.content for turn in prompt if turn.role == "user"), "")
    return folded(first)
