"""A suffix array of tokenised documents: places of their tokens, sorted by what begins there.

A text is documents one after another, each followed by a 0; tokens are from 1 (an id and one). A
suffix ends at its document's 0, so nothing that is read off the array crosses a document's border.
In C++ where that is compiled, in NumPy otherwise; both give the same array.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from arriero.native.build import native
from arriero.records import UserError

Text = NDArray[np.uint32]
Order = NDArray[np.int32]

# Places are int32.
MOST_TOKENS = 2**30
# What sorting holds at most of a token, the text and the array included.
_NATIVE_BYTES, _NUMPY_BYTES = 40, 136


def text_of(tokens: NDArray[np.uint16 | np.uint32], starts: NDArray[np.int64]) -> Text:
    """Documents as one text.

    Args:
        tokens: [N] ids, which may lie on disk.
        starts: [D] where the documents begin, in order, the first at 0.

    Returns:
        [N + D] uint32.

    Raises:
        UserError: an id is too large for the text.
    """
    text = np.zeros(len(tokens) + len(starts), np.uint32)
    is_token = np.ones(len(text), bool)
    is_token[starts[1:] + np.arange(len(starts) - 1)] = False
    is_token[-1] = False
    if tokens.dtype.itemsize > 2 and len(tokens) and int(tokens.max()) >= 2**32 - 1:
        raise UserError("a token's id is above 4,294,967,294: no vocabulary is as large")
    text[is_token] = tokens
    text += is_token
    return text


def sorting_bytes() -> int:
    """The most memory that sorting takes, in bytes a token and document."""
    return _NUMPY_BYTES if native().library is None else _NATIVE_BYTES


def suffix_order(text: Text) -> Order:
    """The places of the tokens of a text, sorted by suffix; of equal suffixes the earlier first.

    Args:
        text: as `text_of` gives it, of fewer than 2**30 tokens.
    """
    library = native().library
    if library is None:
        return _by_doubling(text)
    order = np.empty(int(np.count_nonzero(text)), np.int32)
    text = np.ascontiguousarray(text)
    library.arriero_suffix_order(ctypes.c_int64(len(text)), pointer(text), pointer(order))
    return order


def pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    """Where a contiguous array's values are, for C++."""
    return array.ctypes.data_as(ctypes.c_void_p)


def _by_doubling(text: Text) -> Order:
    """The same by ranks of 1, 2, 4 ... tokens; only what is still equal is sorted again."""
    places = np.flatnonzero(text).astype(np.int32)
    order = places[np.argsort(text[places], kind="stable")]
    first = text[order]
    begins = np.flatnonzero(np.append(True, first[1:] != first[:-1])) if len(order) else places
    # The rank of a separator is below all others.
    ranks = np.full(len(text), -1, np.int32)
    groups = np.repeat(begins, np.diff(np.append(begins, len(order)))).astype(np.int32)
    ranks[order] = groups
    ended = np.zeros(len(order), bool)
    depth = 1
    slots = _shared(groups, ended)
    while len(slots):
        members = order[slots]
        own, following = ranks[members], ranks[members + depth]
        key = own.astype(np.int64) << 32 | (following.astype(np.int64) + 1)
        by_key = np.argsort(key, kind="stable")
        order[slots], key = members[by_key], key[by_key]
        is_new = np.append(True, key[1:] != key[:-1])
        begins = np.maximum.accumulate(np.where(is_new, slots, 0))
        # Suffixes whose rest is equal to its end are equal to their ends.
        rest = (key & 0xFFFFFFFF) - 1
        ended[begins] = (rest < 0) | ended[np.maximum(rest, 0)]
        ranks[order[slots]] = begins
        slots = slots[_shared(begins, ended)]
        depth *= 2
    return order


def _shared(groups: NDArray[np.integer], ended: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where in `groups`, which is in order, a group has several members that have not ended."""
    same = groups[1:] == groups[:-1]
    several = np.append(same, False) | np.append(False, same)
    return np.flatnonzero(several[: len(groups)] & ~ended[groups])
