"""Memory in large pages, for what every step goes through from end to end.

Weights and cache of even a small model cover more ordinary pages than a processor can keep the
addresses of, and looking one up takes longer than a line of the cache.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

import torch
from torch import Tensor

_BLOCK = 64 << 20  # what is asked of the system at once; it hands out pages as they are touched
_LARGE_PAGE = 2 << 20
_LINE = 64  # bytes; everything begins on a line of the processor's cache


class Memory:
    """Zeroed tensors, side by side in blocks; a block lives as long as one of its tensors."""

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def zeros(self, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """[count] zeros."""
        size = count * dtype.itemsize
        if self._used + size > len(self._block):
            self._block, self._used = _block(max(size, _BLOCK)), 0
        part = self._block[self._used : self._used + size]
        self._used += -(-size // _LINE) * _LINE
        return part.view(dtype)


def _block(size: int) -> Tensor:
    """At least `size` bytes, in large pages where the system has them."""
    size = -(-size // _LARGE_PAGE) * _LARGE_PAGE
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(size, dtype=torch.uint8)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel built without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)
