"""Keeps the memory that a step lets go of for the next one, on Linux with glibc.

Each step asks for the same large buffers again. glibc gives such memory back to the system, which
hands it out page by page, zeroed, at the next use: on a CPU a third of the time of a small model
with a large vocabulary.
"""

from __future__ import annotations

import ctypes
from functools import cache

# Of mallopt, see malloc.h. A threshold of -1 is never reached.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


@cache
def keep_pages() -> bool:
    """Set the allocator of this process so, once; False where there is no such allocator."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(name, value) == 1 for name, value in settings)
