"""Several sequences in one row, kept apart (sections 2.2 and 3.1).

Attention and positions stay inside a sequence, so the loss of a packed batch is that of its
sequences one by one, and a score does not depend on its neighbours. Departure: the paper fills rows
of 4,096 to the brim and says nothing of borders; here a dialog is never cut to fill a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows of packed sequences.

    Attributes:
        tokens: [B, T] ids, right padded with 0.
        segments: [B, T] number of the sequence a token belongs to, -1 on padding.
        positions: [B, T] position within the sequence.
        targets: [B, T] the next token of the same sequence; 0 where there is none.
        loss_mask: [B, T] True where `targets` counts in the loss.
        last: [N] flat index (row * T + column) of each sequence's last token, in input order.
    """

    tokens: Tensor
    segments: Tensor
    positions: Tensor
    targets: Tensor
    loss_mask: Tensor
    last: Tensor

    @property
    def num_targets(self) -> int:
        """Tokens that count in the loss."""
        return int(self.loss_mask.sum())


def assign_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Best-fit decreasing: which sequences share a row, none longer than `row_length` in all.

    Sequences are taken from long to short, each into the fullest row that still holds it.
    Returns lists of indices into `lengths`; a sequence longer than a row gets a ValueError.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    rows: list[list[int]] = []
    by_space: list[list[int]] = [[] for _ in range(row_length + 1)]
    for index in order:
        length = lengths[index]
        if length > row_length:
            raise ValueError(f"sequence {index} has {length} tokens, a row holds {row_length}")
        space = next((s for s in range(length, row_length + 1) if by_space[s]), None)
        if space is None:
            rows.append([])
            number, space = len(rows) - 1, row_length
        else:
            number = by_space[space].pop()
        rows[number].append(index)
        by_space[space - length].append(number)
    return rows


def pack(
    sequences: Sequence[Sequence[int]],
    loss_masks: Sequence[Sequence[bool]] | None = None,
    *,
    row_length: int | None = None,
) -> PackedBatch:
    """Pack sequences into as few rows as best-fit finds.

    Args:
        sequences: token ids, each not empty.
        loss_masks: for each token whether predicting it counts; all count if left out.
        row_length: tokens a row; the longest sequence if left out.
    """
    lengths = [len(sequence) for sequence in sequences]
    width = row_length or max(lengths)
    rows = assign_rows(lengths, width)
    shape = (len(rows), width)
    tokens = np.zeros(shape, np.int64)
    targets = np.zeros(shape, np.int64)
    positions = np.zeros(shape, np.int64)
    segments = np.full(shape, -1, np.int64)
    mask = np.zeros(shape, np.bool_)
    last = np.zeros(len(sequences), np.int64)
    for row, members in enumerate(rows):
        column = 0
        for index in members:
            length = lengths[index]
            end = column + length
            ids = np.asarray(sequences[index], np.int64)
            tokens[row, column:end] = ids
            targets[row, column : end - 1] = ids[1:]
            positions[row, column:end] = np.arange(length)
            segments[row, column:end] = index
            counted = True if loss_masks is None else np.asarray(loss_masks[index][1:], np.bool_)
            mask[row, column : end - 1] = counted
            last[index] = row * width + end - 1
            column = end
    return PackedBatch(
        tokens=torch.from_numpy(tokens),
        segments=torch.from_numpy(segments),
        positions=torch.from_numpy(positions),
        targets=torch.from_numpy(targets),
        loss_mask=torch.from_numpy(mask),
        last=torch.from_numpy(last),
    )
