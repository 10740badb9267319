from __future__ import annotations

import math
import random

import pytest

from arriero.equations.agreement import agreement_share, cohen_kappa, rank_correlation


def test_by_hand() -> None:
    first = [1] * 20 + [0] * 15 + [1] * 5 + [0] * 10
    second = [1] * 20 + [0] * 15 + [0] * 5 + [1] * 10
    assert agreement_share(first, second) == 0.7
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_properties() -> None:
    source = random.Random(0)
    first = [source.choice("abc") for _ in range(200)]
    second = [a if source.random() < 0.6 else source.choice("abc") for a in first]
    assert cohen_kappa(first, first) == pytest.approx(1)
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa(second, first))
    names = {"a": "x", "b": "y", "c": "z"}
    renamed = cohen_kappa([names[a] for a in first], [names[b] for b in second])
    assert renamed == pytest.approx(cohen_kappa(first, second))
    assert cohen_kappa([0, 1], [1, 0]) == pytest.approx(-1)


def test_against_a_slow_count_over_all_pairs_of_items() -> None:
    """Chance is what the judges agree on when each one's words are dealt to any item."""
    source = random.Random(1)
    first = [source.choice([0, 0.5, 1]) for _ in range(60)]
    second = [source.choice([0, 1, 1]) for _ in range(60)]
    chance = sum(a == b for a in first for b in second) / 3600
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / 60
    assert cohen_kappa(first, second) == pytest.approx((observed - chance) / (1 - chance))


def test_independent_judges_have_no_kappa() -> None:
    source = random.Random(2)
    first = [source.random() < 0.9 for _ in range(40_000)]
    second = [source.random() < 0.9 for _ in range(40_000)]
    assert agreement_share(first, second) == pytest.approx(0.82, abs=0.01)
    assert cohen_kappa(first, second) == pytest.approx(0, abs=0.02)


def test_without_a_choice_it_is_not_defined() -> None:
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))
    assert math.isnan(cohen_kappa([], []))
    with pytest.raises(ValueError, match="zip"):
        cohen_kappa([1], [])


def test_rank_correlation_by_hand_and_against_counts() -> None:
    assert rank_correlation([1, 2, 3], [10, 30, 20]) == pytest.approx(0.5)
    assert rank_correlation([1, 1, 2], [5, 5, 9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    source = random.Random(6)
    first = [source.randint(1, 7) for _ in range(80)]
    second = [a + source.gauss(0, 2) for a in first]
    # A rank is half the count of those not above plus half of those below, and a half.
    ranks = [
        [sum((b < a) + (b <= a) for b in each) / 2 + 0.5 for a in each] for each in (first, second)
    ]
    means = [sum(each) / 80 for each in ranks]
    moments = [
        sum((a - means[i]) * (b - means[j]) for a, b in zip(ranks[i], ranks[j], strict=True))
        for i, j in ((0, 1), (0, 0), (1, 1))
    ]
    expected = moments[0] / math.sqrt(moments[1] * moments[2])
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation([math.exp(a) for a in first], second) == pytest.approx(expected)


def test_rank_correlation_of_nothing_is_not_defined() -> None:
    assert math.isnan(rank_correlation([1, 1], [1, 2]))
    assert math.isnan(rank_correlation([], []))
    assert math.isnan(rank_correlation([1], [1]))
    with pytest.raises(ValueError, match="values"):
        rank_correlation([1], [])
