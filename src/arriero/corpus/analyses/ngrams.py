"""Hashed n-grams of many lines at once: characters of any script, and words.

Everything is arrays: a line's letters are numbers, and an n-gram's hash follows from those of its
letters by the polynomial of a rolling hash, so no n-gram is ever a string.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKET_BITS = 18
CHARACTERS = (2, 3, 4, 5)
WORDS = (1, 2)

_BASE = np.uint64(0x9E3779B97F4A7C15)
# An odd number has an inverse modulo 2^64.
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of some lines.

    Attributes:
        buckets: [G] in 0..2^bits - 1, of all lines one after the other by kind of n-gram.
        lines: [G] the line of each, from 0.
        num_lines: L; a line may have none.
    """

    buckets: NDArray[np.int64]
    lines: NDArray[np.int64]
    num_lines: int

    def sizes(self) -> NDArray[np.int64]:
        """[L] n-grams of each line."""
        return np.bincount(self.lines, minlength=self.num_lines).astype(np.int64)


def normalised(line: str) -> str:
    """NFKC, small letters, white space as one blank, one at each end, so that words have borders.

    >>> normalised("  Ｈello\\tWORLD ")
    ' hello world '
    """
    return " " + " ".join(unicodedata.normalize("NFKC", line).lower().split()) + " "


def grams_of(lines: Sequence[str], bits: int = BUCKET_BITS) -> Grams:
    """The n-grams of lines: of 2 to 5 characters within the line, of 1 and 2 words.

    A word is a run of letters and digits. The same n-gram has the same bucket on every machine.
    """
    texts = [normalised(line) for line in lines]
    letters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    found = list(_windows(letters.astype(np.uint64), owner, CHARACTERS, seed=1))
    found += _windows(*_words(letters, owner), WORDS, seed=2)
    mixed = np.concatenate([gram for gram, _ in found])
    return Grams(
        (mixed >> np.uint64(64 - bits)).astype(np.int64),
        np.concatenate([line for _, line in found]),
        len(texts),
    )


def _windows(
    values: NDArray[np.uint64], owner: NDArray[np.int64], sizes: Sequence[int], seed: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """For each size the hashes of all runs of so many values of one owner, and their owners."""
    hashed = np.full(len(values), seed, np.uint64)
    for size in range(1, max(sizes) + 1):
        count = max(0, len(values) - size + 1)
        # A run of n is the run of n - 1 before its last value, and that value.
        hashed = _mixed(hashed[:count] * _BASE + values[size - 1 :][:count])
        if size in sizes:
            inside = owner[:count] == owner[size - 1 :][:count]
            yield hashed[inside], owner[:count][inside]


def _words(
    letters: NDArray[np.uint32], owner: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A hash for each word, in order, and the line of each."""
    known, places = np.unique(letters, return_inverse=True)
    is_letter = np.asarray([chr(letter).isalnum() for letter in known], bool)
    inside = is_letter[places]
    # A line ends with a blank, so no word goes over its end.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    # With letters weighed by base^-place, a sum over a word times base^start forgets the place.
    powers, undone = (_powers(base, len(letters)) for base in (_BASE, _INVERSE))
    sums = np.concatenate([[np.uint64(0)], np.cumsum((letters + np.uint64(1)) * undone)])
    return _mixed((sums[ends] - sums[starts]) * powers[starts]), owner[starts]


def _powers(base: np.uint64, count: int) -> NDArray[np.uint64]:
    """base^0, base^1, ... modulo 2^64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads what differs in some bits over all of them (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
