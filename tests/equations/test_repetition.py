from __future__ import annotations

import random

import pytest

from arriero.equations.repetition import repeated_ngram_share


def test_by_hand() -> None:
    assert repeated_ngram_share([1, 2, 1, 2, 1], n=2) == 0.5
    assert repeated_ngram_share([1, 2, 3, 1, 2, 3]) == 0.25  # 123 231 312 123
    assert repeated_ngram_share([7] * 10) == pytest.approx(7 / 8)
    assert repeated_ngram_share(list(range(10))) == 0


@pytest.mark.parametrize("tokens", [[], [1], [1, 1]])
def test_too_short_to_repeat(tokens: list[int]) -> None:
    assert repeated_ngram_share(tokens) == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_against_a_loop(n: int) -> None:
    source = random.Random(n)
    tokens = [source.randrange(4) for _ in range(60)]
    repeats = 0
    for end in range(n, len(tokens) + 1):
        gram = tokens[end - n : end]
        repeats += any(tokens[i : i + n] == gram for i in range(end - n))
    assert repeated_ngram_share(tokens, n) == pytest.approx(repeats / (len(tokens) - n + 1))


def test_relabelling_and_reversal_change_nothing() -> None:
    source = random.Random(9)
    tokens = [source.randrange(5) for _ in range(40)]
    share = repeated_ngram_share(tokens)
    assert 0 < share < 1
    assert repeated_ngram_share([token + 100 for token in tokens]) == share
    assert repeated_ngram_share(tokens[::-1]) == share


def test_n_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="n-gram"):
        repeated_ngram_share([1, 2], n=0)
