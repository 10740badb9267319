"""Tensors that are read when they are asked for, so that a conversion never holds a whole model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arriero.records import UserError


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """What is known of a tensor before it is read.

    Attributes:
        shape: its size along each dimension.
        dtype: the type of its numbers.
        read: gives the tensor in memory of its own, or the one that is held already.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def held(tensor: Tensor) -> LazyTensor:
    """A tensor that is in memory already."""
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor.detach())


def in_file(path: Path, offset: int, dtype: torch.dtype, shape: tuple[int, ...]) -> LazyTensor:
    """A tensor whose numbers stand one after another in a file, from byte `offset` on.

    It is read and not mapped: pages of a mapped file stay in the process until the mapping goes,
    and a file that changes under a mapping changes the weights with it.
    """

    def read() -> Tensor:
        tensor = torch.empty(shape, dtype=dtype)
        with path.open("rb") as file:
            file.seek(offset)
            num_read = file.readinto(memory_of(tensor))
        if num_read != tensor.nbytes:
            raise UserError(f"{path}: damaged weights (the file ends too early)")
        return tensor

    return LazyTensor(shape, dtype, read)


def as_type(tensor: LazyTensor, dtype: torch.dtype | None) -> LazyTensor:
    """The same numbers, rounded to another type where one is given."""
    if dtype is None or dtype == tensor.dtype:
        return tensor
    return LazyTensor(tensor.shape, dtype, lambda: tensor.read().to(dtype))


def memory_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, in place."""
    numbers: Any = tensor.flatten().view(torch.uint8).numpy()
    return memoryview(numbers)
