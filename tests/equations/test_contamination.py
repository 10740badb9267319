"""Contaminated shares, subsets and Z: by hand, by simulation, and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.equations.contamination import (
    SUBSETS,
    SubsetFigures,
    as_row,
    contaminated_share,
    in_subset,
    is_affected,
    merged_spans,
    sampling_distribution,
    subset_figures,
)

SPANS = [(30, 41), (0, 12), (5, 17)]


def test_share_by_hand() -> None:
    assert merged_spans(SPANS) == [(0, 17), (30, 41)]
    assert contaminated_share(SPANS, 50) == 0.56
    assert contaminated_share([], 50) == 0
    assert contaminated_share([], 0) == 0
    assert contaminated_share([(0, 11)], 11) == 1


@pytest.mark.parametrize("span", [(3, 3), (-1, 4), (0, 6), (4, 2)])
def test_spans_outside_the_sample(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of 5 tokens"):
        contaminated_share([span], 5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 29), st.integers(1, 12))), st.integers(42, 60))
def test_share_is_that_of_marked_tokens(given_spans: list[tuple[int, int]], size: int) -> None:
    spans = [(begin, begin + length) for begin, length in given_spans]
    marked = {k for begin, end in spans for k in range(begin, end)}
    assert contaminated_share(spans, size) == len(marked) / size


def test_subsets_at_their_borders() -> None:
    shares = [0.0, 0.19999, 0.2, 0.79999, 0.8, 1.0]
    members = {name: np.flatnonzero(inside).tolist() for name, inside in in_subset(shares).items()}
    assert members == {
        "clean": [0, 1],
        "not clean": [2, 3, 4, 5],
        "not dirty": [0, 1, 2, 3],
        "dirty": [4, 5],
    }


def test_figures_by_hand() -> None:
    figures = subset_figures([0, 0, 0.5, 1], [0, 0, 1, 1])
    clean, dirty = figures["clean"], figures["dirty"]
    assert (clean.n, clean.contamination, clean.mean, clean.expected) == (2, 0, 0, 0.5)
    assert clean.deviation == pytest.approx(0.5 / math.sqrt(2))
    assert clean.z == pytest.approx(-math.sqrt(2))
    assert (dirty.n, dirty.contamination, dirty.mean, dirty.z) == (1, 1, 1, 1)
    assert figures["not clean"].contamination == 0.75
    assert figures["not dirty"].mean == pytest.approx(1 / 3)


def test_without_replacement_by_hand() -> None:
    mean, deviation = sampling_distribution([1, 1, 0, 0], 2, replacement=False)
    assert (mean, deviation) == (0.5, pytest.approx(0.5 / math.sqrt(2) * math.sqrt(2 / 3)))
    assert sampling_distribution([1, 1, 0, 0], 4, replacement=False)[1] == 0
    assert sampling_distribution([3], 1, replacement=False) == (3, 0)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("n", [1, 7, 30])
def test_distribution_as_it_is_drawn(n: int, replacement: bool) -> None:
    draw = np.random.default_rng(n)
    metric = draw.gamma(2.0, size=40)
    means = [draw.choice(metric, n, replace=replacement).mean() for _ in range(20_000)]
    mean, deviation = sampling_distribution(metric.tolist(), n, replacement=replacement)
    assert np.mean(means) == pytest.approx(mean, abs=4 * deviation / math.sqrt(len(means)))
    assert np.std(means) == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize(("metric", "n"), [([], 1), ([1.0], 0), ([1.0, 2.0], 3)])
def test_subsets_that_are_none(metric: list[float], n: int) -> None:
    with pytest.raises(ValueError, match="a subset of"):
        sampling_distribution(metric, n, replacement=False)


def test_without_a_metric_there_are_shares() -> None:
    figures = subset_figures([0.5])
    assert figures["not clean"] == SubsetFigures(1, 0.5)
    assert figures["dirty"] == SubsetFigures(0, None)


def test_a_value_for_every_share() -> None:
    with pytest.raises(ValueError, match="1 values of 2 samples"):
        subset_figures([0, 1], [1])


def test_no_z_where_all_are_equal_or_none_is_there() -> None:
    figures = subset_figures([0, 1, 1], [1, 1, 1])
    assert {row.z for row in figures.values()} == {None}
    assert not is_affected(figures)
    assert subset_figures([0, 0], [0, 1])["dirty"].z is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_subsets_balance(samples: list[tuple[float, int]]) -> None:
    shares, metric = zip(*samples, strict=True)
    figures = subset_figures(shares, metric)
    for one, other in (("clean", "not clean"), ("not dirty", "dirty")):
        parts = figures[one], figures[other]
        assert sum(part.n for part in parts) == len(samples)
        assert sum(part.n * (part.mean or 0) for part in parts) == pytest.approx(sum(metric))
        # One lies as far above what is expected as the other below, in metric times samples.
        if all(part.z is not None for part in parts):
            weighted = [(part.z or 0) * math.sqrt(part.n) for part in parts]
            assert sum(weighted) == pytest.approx(0, abs=1e-6)


def affected(*z: float | None, **how: bool) -> bool:
    figures = {
        name: SubsetFigures(9, 0.5, 0.5, 0.5, 0.1, value)
        for name, value in zip(SUBSETS, z, strict=True)
    }
    return is_affected(figures, **how)


def test_affected_only_if_all_four_say_so() -> None:
    # Clean, not clean, not dirty, dirty.
    assert affected(-2.1, 2.1, -2.1, 2.1)
    assert not affected(-2.0, 2.1, -2.1, 2.1)
    assert not affected(-2.1, 2.1, -2.1, None)
    assert not affected(2.1, -2.1, 2.1, -2.1)
    assert not affected(-9, 9, -9, -9)
    assert affected(2.1, -2.1, 2.1, -2.1, higher_is_better=False)


def test_a_row_of_the_results() -> None:
    row = as_row(SubsetFigures(2, 0.1, 0.5, 0.4, 0.05, 2.0))
    assert row == {
        "n": 2, "contamination": 0.1, "mean": 0.5, "mu_n": 0.4, "sigma_n": 0.05, "z": 2.0
    }  # fmt: skip


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7, 1 / 3])
@pytest.mark.parametrize("replacement", [True, False])
def test_a_metric_that_is_the_same_for_all_has_no_z(value: float, replacement: bool) -> None:
    figures = subset_figures([0.0] * 4 + [1.0] * 7, [value] * 11, replacement=replacement)
    assert {subset.z for subset in figures.values()} == {None}
    assert {subset.deviation for subset in figures.values()} == {0.0}
