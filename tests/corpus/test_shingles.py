"""Shingles and MinHash against slow references, with C++ and without."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus import shingles as module
from arriero.corpus.shingles import (
    band_keys,
    exact_hash,
    folded,
    jaccard,
    shingle_set,
    shingles,
)

TEXTS = st.text(st.sampled_from("ab cC.,-\n1éß漢字“”\u00a0_ "), max_size=80)


def words(text: str) -> list[str]:
    """What a word is, told another way: by characters of the folded text."""
    return re.findall(r"[^\x00-/:-@\[-`{-\x7f]+", folded(text).decode())


def runs(text: str, size: int) -> list[tuple[str, ...]]:
    found = words(text)
    size = min(size, len(found)) if found else 1
    return [tuple(found[at : at + size]) for at in range(len(found) - size + 1)]


def true_jaccard(a: str, b: str, size: int) -> float:
    one, two = set(runs(a, size)), set(runs(b, size))
    return len(one & two) / len(one | two) if one | two else 0.0


@given(TEXTS, TEXTS, st.integers(1, 6))
def test_jaccard_is_that_of_the_sets_of_words(a: str, b: str, size: int) -> None:
    found = jaccard(shingle_set(a, size), shingle_set(b, size))
    assert found == pytest.approx(true_jaccard(a, b, size))


@given(TEXTS, st.integers(1, 6))
def test_there_is_a_hash_for_each_run(text: str, size: int) -> None:
    expected = runs(text, size)
    found = shingles(text, size).tolist()
    assert len(found) == len(expected)
    assert len(set(found)) == len(set(expected))


@given(TEXTS, st.integers(1, 6))
def test_numpy_and_cpp_make_the_same_numbers(text: str, size: int) -> None:
    fast = shingles(text, size).copy()
    slow = module._slow_shingles(folded(text), size)
    assert fast.tolist() == slow.tolist()
    keys = band_keys([fast], 3, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_library", lambda: None)
        assert band_keys([slow], 3, 4).tolist() == keys.tolist()


def test_hand_worked_similarity() -> None:
    # a b c d e f g has three runs of five words, of which a change of the last word takes one:
    # two in common of four.
    a, b = "a b c d e f g", "A b, c d e f h"
    assert jaccard(shingle_set(a, 5), shingle_set(b, 5)) == 0.5


def test_signs_of_scripts_without_spaces_are_words() -> None:
    assert words("漢字x") == ["漢", "字", "x"]
    assert true_jaccard("早晨河上的雾", "早晨河上的雪", 3) == 0.6


def test_vowel_signs_belong_to_words() -> None:
    """Hindi in words: of 60 three are others, so 41 of the 71 runs of five are common to both."""
    assert words("की कि ❤\ufe0f") == ["की", "कि"]
    assert jaccard(shingle_set("दिन", 1), shingle_set("दीन", 1)) == 0
    one = [f"{first}{second}" for first in "कगतपम" for second in ("मिल", "नीति", "सेवा", "ही")] * 3
    one = [f"{word}{'ािीुूेैोौं'[at // 6]}" for at, word in enumerate(one)]
    two = [word if at not in (20, 40, 50) else "बदला" for at, word in enumerate(one)]
    runs_of = [{tuple(text[at : at + 5]) for at in range(56)} for text in (one, two)]
    true = len(runs_of[0] & runs_of[1]) / len(runs_of[0] | runs_of[1])
    assert true == 41 / 71
    assert jaccard(shingle_set(" ".join(one), 5), shingle_set(" ".join(two), 5)) == true


def test_text_without_a_word_has_no_key() -> None:
    assert band_keys([shingles("...", 5)], 14, 8).tolist() == [[0] * 14]


@given(TEXTS)
def test_exact_hash_sees_neither_case_nor_space(text: str) -> None:
    changed = "\n ".join(text.casefold().split())
    assert exact_hash(changed) == exact_hash(text)
    assert exact_hash(text + " z") != exact_hash(text)


def test_bands_find_what_is_alike_and_little_else() -> None:
    """Of pairs at a Jaccard of 0.85 or a little more 98.8% share a key, at 0.3 next to none."""
    rng = random.Random(0)
    close = [_pair(rng, 120, 9) for _ in range(1_000)]
    far = [_pair(rng, 120, 70) for _ in range(300)]
    assert all(0.85 <= jaccard(a, b) <= 0.87 for a, b in close)
    assert sum(map(_share_a_key, close)) >= 980
    assert sum(map(_share_a_key, far)) <= 3


def _pair(rng: random.Random, size: int, apart: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.asarray([rng.getrandbits(64) for _ in range(size + apart)], np.uint64)
    return np.sort(numbers[:size]), np.sort(numbers[apart:])


def _share_a_key(pair: tuple[np.ndarray, np.ndarray]) -> bool:
    keys = band_keys(pair, 14, 8)
    return bool((keys[0] == keys[1]).any())
