"""A static key/value cache: one slot a position, rows that can be copied."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from arriero.model.config import ModelConfig


class KVCache:
    """Keys and values of all layers for a batch of rows, each row with its own length.

    A query at position p sees the slots 0..p of its row and no other, so whatever stands in later
    slots (padding of a ragged prefill, an earlier sequence) is never read.

    Attributes:
        keys, values: [L, B, H_kv, S, head_dim].
    """

    def __init__(
        self,
        config: ModelConfig,
        num_rows: int,
        num_slots: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.num_layers, num_rows, config.num_kv_heads, num_slots, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def num_slots(self) -> int:
        """Positions that fit into a row."""
        return self.keys.shape[3]

    def write(self, layer: int, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Put [B, H_kv, T, head_dim] keys and values into the slots `positions` [B, T]."""
        rows = torch.arange(positions.shape[0], device=positions.device)[:, None]
        self.keys[layer][rows, :, positions] = keys.transpose(1, 2)
        self.values[layer][rows, :, positions] = values.transpose(1, 2)

    def read(self, layer: int, num_slots: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `num_slots` slots: [B, H_kv, num_slots, head_dim] each."""
        return self.keys[layer][:, :, :num_slots], self.values[layer][:, :, :num_slots]

    def gathered(self, rows: Tensor) -> KVCache:
        """A cache of some of the rows, a copy."""
        chosen = copy(self)
        chosen.keys, chosen.values = self.keys[:, rows], self.values[:, rows]
        return chosen

    def place(self, rows: Tensor, other: KVCache) -> None:
        """Put what `gathered` gave back into its rows."""
        self.keys[:, rows], self.values[:, rows] = other.keys, other.values

    def copy(self, source: int, target: int, count: int) -> None:
        """Put the first `count` slots of one row into another."""
        for part in (self.keys, self.values):
            part[:, target, :, :count] = part[:, source, :, :count]
