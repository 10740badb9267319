"""Two answers to one prompt in one row, where the prompt stands once.

Both answers see the prompt and themselves, and neither sees the other; the second counts its
positions on from the prompt, as the first does. So both get what they would get alone, for the cost
of prompt, answer and answer instead of twice the prompt. What the answers themselves begin alike
with is shared too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arriero.data.packing import assign_rows

_SHORTEST_ROW = 128
_WIDTHS = 9


@dataclass(frozen=True, slots=True)
class PackedPairs:
    """Rows of pairs.

    Attributes:
        tokens: [B, T] ids: of each pair what both sides share, the rest of the first, the rest of
            the second; right padded with 0.
        segments: [B, T] number of the pair a token belongs to, -1 on padding.
        positions: [B, T] position within its side.
        skips: [B, T, 2] columns that a token does not see (model.attention.visible_from).
        last: [2, N] flat index (row * T + column) of the last token of each side, in input order.
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor
    skips: Tensor
    last: Tensor


def shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that two sequences begin with alike; each keeps one of its own at least.

    >>> shared_length([1, 2, 3, 4], [1, 2, 5])
    2
    >>> shared_length([1, 2], [1, 2])
    1
    """
    most = min(len(first), len(second)) - 1
    return next((at for at in range(most) if first[at] != second[at]), most)


def packed_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that a pair takes in a row."""
    return len(first) + len(second) - shared_length(first, second)


def pack_pairs(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> PackedPairs:
    """Pack pairs of sequences, none empty, into rows with as little padding as there is to have."""
    lengths = [packed_length(first, second) for first, second in pairs]
    width, rows = _tight_rows(lengths)
    shape = (len(rows), width)
    tokens, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    segments = np.full(shape, -1, np.int64)
    skips = np.zeros((*shape, 2), np.int64)
    last = np.zeros((2, len(pairs)), np.int64)
    for row, members in enumerate(rows):
        begin = 0
        for number in members:
            first, second = pairs[number]
            end = begin + lengths[number]
            middle = begin + len(first)
            shared = len(first) + len(second) - lengths[number]
            tokens[row, begin:middle] = first
            tokens[row, middle:end] = second[shared:]
            positions[row, begin:middle] = np.arange(len(first))
            positions[row, middle:end] = np.arange(shared, len(second))
            segments[row, begin:end] = number
            skips[row, middle:end] = (begin + shared, middle)
            last[:, number] = (row * width + middle - 1, row * width + end - 1)
            begin = end
    return PackedPairs(*map(torch.from_numpy, (tokens, segments, positions, skips, last)))


def _tight_rows(lengths: Sequence[int]) -> tuple[int, list[list[int]]]:
    """Width and members of the rows that hold the least padding, up to twice the longest wide."""
    longest = max(*lengths, _SHORTEST_ROW) if lengths else _SHORTEST_ROW
    widths = [longest + longest * step // (_WIDTHS - 1) for step in range(_WIDTHS)]
    layouts = [(width, assign_rows(lengths, width)) for width in widths]
    return min(layouts, key=lambda layout: layout[0] * len(layout[1]))
