"""Shingles of words, their Jaccard similarity, and MinHash signatures.

A word is a run of letters and digits in folded case; a shingle is `ngram` words in a row, hashed
to 64 bits. A text of fewer words has one shingle. MinHash (Broder 1997) keeps, for each of
`bands * rows` permutations, the least hash; texts that agree on all rows of a band are candidates.
C++ does it where there is a compiler; the same in numpy, slower, where there is none.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from arriero.corpus.rules import UNSPACED
from arriero.native.build import native

Hashes = NDArray[np.uint64]

_PRIME = 0x9E3779B97F4A7C15  # odd, from the golden ratio
_WORD_BASE = 0x100000001B3 | (1 << 62)
_GRAM_BASE = 0xD6E8FEB86659FD93
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


def _marks() -> str:
    """Combining marks as ranges of a regular expression, without selectors of a sign's looks.

    `\\w` lacks them, though they are the vowels of Hindi or Tamil. There are none beyond.
    """
    codes = [code for code in range(0x300, 0x20000) if _is_mark(code)]
    firsts = [code for code in codes if not _is_mark(code - 1)]
    lasts = [code for code in codes if not _is_mark(code + 1)]
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in zip(firsts, lasts, strict=True))


def _is_mark(code: int) -> bool:
    selects = 0xFE00 <= code <= 0xFE0F
    return unicodedata.category(chr(code)) in ("Mn", "Mc") and not selects


# Runs of signs beyond ASCII that are no part of a word.
_NO_WORD = re.compile(rf"[^\w\x00-\x7f{_marks()}]+")
_UNSPACED = re.compile(f"([{UNSPACED}])")
_IS_WORD = np.zeros(256, bool)
_IS_WORD[[*range(48, 58), *range(97, 123), *range(65, 91), *range(128, 256)]] = True


def exact_hash(text: str) -> tuple[int, int]:
    """128 bits that texts share which are the same but for case and white space."""
    digest = xxhash.xxh3_128_intdigest(" ".join(text.casefold().split()).encode())
    return digest >> 64, digest & _MASK


def folded(text: str) -> bytes:
    """The text in which words are runs of ASCII letters and digits and bytes from 128 on.

    Signs beyond ASCII that are no part of a word become spaces; in scripts without spaces every
    sign is a word. Combining marks belong to words.

    >>> folded("«Ünder» की").decode().split()
    ['ünder', 'की']
    """
    text = text.casefold()
    if not text.isascii():
        text = _UNSPACED.sub(r" \1 ", _NO_WORD.sub(" ", text))
    return text.encode()


def shingles(text: str, ngram: int) -> Hashes:
    """Hashes of all shingles, in their order and as often as they come; none without a word."""
    content = folded(text)
    found = np.empty(len(content) // 2 + 2, np.uint64)
    library = _library()
    if library is None:
        return _slow_shingles(content, ngram)
    count = library.arriero_shingles(content, len(content), ngram, found.ctypes.data)
    return found[:count]


def shingle_set(text: str, ngram: int) -> Hashes:
    """The different shingles, sorted."""
    return np.unique(shingles(text, ngram))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Share of the shingles of two sorted sets that both have; 0 for two empty ones.

    >>> one, two = np.arange(4, dtype=np.uint64), np.arange(1, 5, dtype=np.uint64)
    >>> jaccard(one, two)
    0.6
    """
    if not len(a) or not len(b):
        return 0.0
    places = np.searchsorted(b, a)
    common = int(np.count_nonzero(b[np.minimum(places, len(b) - 1)] == a))
    return common / (len(a) + len(b) - common)


def band_keys(found: Sequence[Hashes], bands: int, rows: int) -> Hashes:
    """Keys of some texts, (texts, bands); 0 for a text without a shingle, which is like none."""
    signatures = np.stack([_signature(one, bands * rows) for one in found])
    parts = signatures.reshape(len(found), bands, rows).astype(np.uint64)
    keys = np.broadcast_to(np.arange(1, bands + 1, dtype=np.uint64), (len(found), bands)).copy()
    for row in range(rows):
        keys = _mixed((keys ^ parts[:, :, row]) * np.uint64(_PRIME))
    keys = np.maximum(keys, np.uint64(1))
    keys[[len(one) == 0 for one in found]] = 0
    return keys


def _signature(found: Hashes, size: int) -> NDArray[np.uint32]:
    """The least value of each permutation h -> a * h + b modulo 2^32."""
    factors, terms = _permutations(size)
    least = np.full(size, 2**32 - 1, np.uint32)
    library = _library()
    if library is not None:
        library.arriero_minhash(
            found.ctypes.data, len(found), factors.ctypes.data, terms.ctypes.data, size,
            least.ctypes.data,
        )  # fmt: skip
        return least
    high = (found >> np.uint64(32)).astype(np.uint32)
    for part in np.array_split(high, len(high) // 4096 + 1):
        if len(part):
            np.minimum(least, (part[:, None] * factors + terms).min(axis=0), out=least)
    return least


@cache
def _permutations(size: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The same for every corpus: so signatures of two builds can be compared."""
    drawn = _mixed(np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(_PRIME))
    high = (drawn >> np.uint64(32)).astype(np.uint32)
    return high[:size] | np.uint32(1), high[size:].copy()


def _mixed(values: Hashes) -> Hashes:
    """splitmix64's last step (Steele et al. 2014): every bit depends on every bit."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(_MIX[0])
    values = values ^ (values >> np.uint64(27))
    values = values * np.uint64(_MIX[1])
    return values ^ (values >> np.uint64(31))


def _slow_shingles(content: bytes, ngram: int) -> Hashes:
    """Polynomials over bytes, then over words, modulo 2^64, each mixed."""
    data = np.frombuffer(content, np.uint8)
    inside = np.concatenate(([False], _IS_WORD[data], [False]))
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return np.zeros(0, np.uint64)
    words = np.zeros(len(starts), np.uint64)
    lengths = ends - starts
    for place in range(int(lengths.max())):
        longer = lengths > place
        byte = data[starts[longer] + place].astype(np.uint64) + np.uint64(1)
        words[longer] = words[longer] * np.uint64(_WORD_BASE) + byte
    words = _mixed(words)
    size = min(ngram, len(words))
    grams = np.zeros(len(words) - size + 1, np.uint64)
    for place in range(size):
        grams = grams * np.uint64(_GRAM_BASE) + words[place : place + len(grams)]
    return _mixed(grams)


@cache
def _library() -> ctypes.CDLL | None:
    library = native().library
    if library is None:
        return None
    library.arriero_shingles.argtypes = [
        ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    library.arriero_shingles.restype = ctypes.c_int64
    library.arriero_minhash.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
        ctypes.c_void_p,
    ]  # fmt: skip
    library.arriero_minhash.restype = None
    return library
