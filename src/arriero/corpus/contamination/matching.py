"""The longest match that begins at every token of a sample, looked up in a suffix array.

A match of a sample and a document is a run of tokens at one place of the sample and one of the
document such that

- the first `exact_prefix` tokens are the same,
- of all its tokens at most `budget` differ,
- the last one is the same,
- it has at least `min_length` tokens, those that differ counted,
- it lies in one document.

A token of the sample is contaminated if it lies in a match; one that differs, inside a match, does.
Of matches that begin at one place of the sample the longest holds all others, so it is all that has
to be known there, whichever of the corpus's places it is with.

Two rules keep the work small where a passage occurs a million times, and both change nothing of
what is contaminated. A match whose seed (an occurrence of its first `exact_prefix` tokens) follows
a seed of the place before ends where that one's match ends: a place with no other seeds is passed
over (NumPy passes over such seeds one by one). And in C++ occurrences are read as a trie: what many
of them share is compared once.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from arriero.corpus.contamination.suffixes import Order, Text, pointer
from arriero.native.build import native
from arriero.records import UserError

_AT_ONCE = 1 << 12
_STRETCH = 32


@dataclass(frozen=True, slots=True)
class Rule:
    """What a match is (A.6).

    Attributes:
        min_length: tokens of the shortest match; longer than 10 in the paper.
        budget: how many of them may differ.
        exact_prefix: how many at the beginning may not.
    """

    min_length: int = 11
    budget: int = 4
    exact_prefix: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.exact_prefix <= self.min_length:
            raise UserError(
                f"an exact beginning of {self.exact_prefix} tokens in matches of {self.min_length} "
                "or more: it has at least 1 and at most as many as the shortest match"
            )
        if self.budget < 0:
            raise UserError(f"{self.budget} tokens that may differ: say 0 or more")


@dataclass(frozen=True, slots=True)
class Samples:
    """Token rows one after another.

    Attributes:
        tokens: [M] uint32, ids and one.
        starts: [S + 1] int64, where each sample begins, and M.
    """

    tokens: NDArray[np.uint32]
    starts: NDArray[np.int64]


def samples_of(rows: list[list[int]]) -> Samples:
    """Samples of ids."""
    lengths = np.asarray([len(row) for row in rows], np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    tokens = np.fromiter((token + 1 for row in rows for token in row), np.uint32, int(starts[-1]))
    return Samples(tokens, starts)


def longest_matches(
    text: Text, order: Order, samples: Samples, rule: Rule
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(lengths, places in the text) of the longest match that begins at each token of the samples.

    Both are [M]; length 0 where no match begins. What ends with a match that begins at the token
    before may be left out. Of matches of one length the earliest in the text is named.

    Args:
        text, order: documents and their suffix array.
    """
    lengths = np.zeros(len(samples.tokens), np.int32)
    places = np.zeros(len(samples.tokens), np.int32)
    library = native().library
    if library is None:
        for begin, end in pairwise(samples.starts.tolist()):
            found = _of_sample(text, order, samples.tokens[begin:end], rule)
            lengths[begin:end], places[begin:end] = found
        return lengths, places
    library.arriero_longest_matches(
        pointer(text),
        ctypes.c_int64(len(order)),
        pointer(order),
        ctypes.c_int64(len(samples.starts) - 1),
        pointer(samples.starts),
        pointer(samples.tokens),
        ctypes.c_int64(rule.exact_prefix),
        ctypes.c_int64(rule.budget),
        ctypes.c_int64(rule.min_length),
        pointer(lengths),
        pointer(places),
    )
    return lengths, places


def _of_sample(
    text: Text, order: Order, sample: Text, rule: Rule
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The same of one sample, in NumPy."""
    lengths, places = np.zeros((2, len(sample)), np.int32)
    num_places = len(sample) - rule.min_length + 1
    if num_places < 1 or len(order) == 0:
        return lengths, places
    prefix = rule.exact_prefix
    low, high = _seeds(text, order, sample, prefix, num_places)
    for place in np.flatnonzero(high > low).tolist():
        seeds = order[low[place] : high[place]]
        if place > 0:
            # Those that follow a seed of the place before end where that one does. Before the
            # text's first token stands, as it were, its last one: a separator.
            seeds = seeds[text[seeds - 1] != sample[place - 1]]
        if len(seeds):
            lengths[place], places[place] = _longest(text, seeds, sample[place:], rule)
    return lengths, places


def _seeds(
    text: Text, order: Order, sample: Text, prefix: int, num_places: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[P] each: the part of the suffix array that begins with the `prefix` tokens at each place."""
    windows = np.lib.stride_tricks.sliding_window_view(sample, prefix)[:num_places]
    last = len(text) - 1

    def search(past: bool) -> NDArray[np.int64]:
        low = np.zeros(num_places, np.int64)
        high = np.full(num_places, len(order), np.int64)
        while (active := np.flatnonzero(low < high)).size:
            middle = (low[active] + high[active]) // 2
            where = order[middle].astype(np.int64)
            # 0 while equal so far, then the sign of the first difference.
            sign = np.zeros(len(active), np.int8)
            for k in range(prefix):
                found, wanted = text[np.minimum(where + k, last)], windows[active, k]
                sign = np.where(sign, sign, (found > wanted).astype(np.int8) - (found < wanted))
            below = sign < 0 if not past else sign <= 0
            low[active[below]] = middle[below] + 1
            high[active[~below]] = middle[~below]
        return low

    return search(past=False), search(past=True)


def _longest(text: Text, places: Order, rest: Text, rule: Rule) -> tuple[int, int]:
    """Length and place of the longest match of `rest` with the suffixes at `places`; or 0 and 0."""
    best = best_place = 0
    for begin in range(0, len(places), _AT_ONCE):
        at = places[begin : begin + _AT_ONCE].astype(np.int64)
        reached = _reached(text, at, rest, rule)
        longest = int(reached.max())
        place = int(at[reached == longest].min())
        if longest >= rule.min_length and (longest, -place) > (best, -best_place):
            best, best_place = longest, place
    return best, best_place


def _reached(text: Text, at: NDArray[np.int64], rest: Text, rule: Rule) -> NDArray[np.int64]:
    """How long the match of `rest` with each suffix is; its first `exact_prefix` tokens are."""
    reached = np.full(len(at), rule.exact_prefix, np.int64)
    different = np.zeros(len(at), np.int64)
    alive = np.arange(len(at))
    for depth in range(rule.exact_prefix, len(rest), _STRETCH):
        columns = np.arange(depth, min(depth + _STRETCH, len(rest)))
        tokens = text[np.minimum(at[alive, None] + columns, len(text) - 1)]
        same = tokens == rest[columns]
        # Past the document's end nothing counts.
        inside = np.logical_and.accumulate(tokens != 0, axis=1)
        spent = different[alive, None] + np.cumsum(~same, axis=1)
        counts = same & inside & (spent <= rule.budget)
        ends = np.where(counts, columns + 1, 0).max(axis=1)
        reached[alive] = np.maximum(reached[alive], ends)
        different[alive] = spent[:, -1]
        alive = alive[inside[:, -1] & (spent[:, -1] <= rule.budget)]
        if not len(alive):
            break
    return reached
