"""A line over log2: by hand, against numpy's polynomial fit, and how it moves."""

from __future__ import annotations

import numpy as np
import pytest

from arriero.equations.trend import log_trend


def test_by_hand() -> None:
    found = log_trend([100, 200, 400], [0.5, 0.55, 0.6])
    assert found is not None
    assert found.slope == pytest.approx(0.05)
    assert found.intercept == pytest.approx(0.5 - 0.05 * np.log2(100))
    assert found.r_squared == pytest.approx(1.0)


def test_against_polyfit() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.uniform(10, 5000, 40), draw.uniform(0.5, 0.9, 40)
    found = log_trend(x.tolist(), y.tolist())
    slope, intercept = np.polyfit(np.log2(x), y, 1)
    left = y - (intercept + slope * np.log2(x))
    assert found == pytest.approx((intercept, slope, 1 - left.var() / y.var()))


def test_twice_the_data_moves_the_line_by_its_slope() -> None:
    x, y = [3.0, 50.0, 700.0], [0.6, 0.61, 0.7]
    one, other = log_trend(x, y), log_trend([2 * value for value in x], y)
    assert one is not None
    assert other is not None
    assert other.slope == pytest.approx(one.slope)
    assert other.intercept == pytest.approx(one.intercept - one.slope)


def test_one_amount_has_no_trend_and_no_change_is_all_explained() -> None:
    assert log_trend([8, 8], [0.5, 0.6]) is None
    flat = log_trend([8, 16], [0.5, 0.5])
    assert flat is not None
    assert (flat.slope, flat.r_squared) == (0.0, 1.0)
