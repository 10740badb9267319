from __future__ import annotations

import random

import pytest

from arriero.equations.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability_bins,
)


def test_bins_by_hand() -> None:
    bins = reliability_bins([0.1, 0.9, 0.9], [0, 1, 0], num_bins=2)
    assert bins == [ReliabilityBin(0, 0.5, 0.1, 0, 1), ReliabilityBin(0.5, 1, 0.9, 0.5, 2)]
    assert expected_calibration_error(bins) == pytest.approx((0.1 + 2 * 0.4) / 3)
    assert expected_calibration_error(reliability_bins([], [])) == 0


def test_edges_belong_to_the_bin_above_and_the_last_bin_is_closed() -> None:
    bins = reliability_bins([0.0, 0.5, 1.0], [0, 0.5, 1], num_bins=2)
    assert [(each.low, each.n) for each in bins] == [(0, 1), (0.5, 2)]
    halves = reliability_bins([0.5, 0.74, 0.75, 1.0], [1, 1, 1, 1], num_bins=2, low=0.5)
    assert [(each.low, each.high, each.n) for each in halves] == [(0.5, 0.75, 2), (0.75, 1, 2)]


def test_against_a_slow_loop() -> None:
    source = random.Random(3)
    probabilities = [source.random() for _ in range(400)]
    outcomes = [source.choice((0.0, 0.5, 1.0)) for _ in probabilities]
    slow = 0.0
    for number in range(10):
        inside = [i for i, p in enumerate(probabilities) if number <= 10 * p < number + 1]
        if inside:
            gap = sum(probabilities[i] for i in inside) - sum(outcomes[i] for i in inside)
            slow += abs(gap) / 400
    found = reliability_bins(probabilities, outcomes)
    assert sum(each.n for each in found) == 400
    assert expected_calibration_error(found) == pytest.approx(slow)
    shuffled = random.Random(4).sample(range(400), 400)
    again = reliability_bins([probabilities[i] for i in shuffled], [outcomes[i] for i in shuffled])
    assert expected_calibration_error(again) == pytest.approx(slow)


def test_true_probabilities_have_no_error_and_false_ones_have_theirs() -> None:
    source = random.Random(5)
    probabilities = [source.random() for _ in range(20_000)]
    outcomes = [float(source.random() < p) for p in probabilities]
    assert expected_calibration_error(reliability_bins(probabilities, outcomes)) < 0.02
    sure = [float(p > 0.5) for p in probabilities]  # too sure by a quarter on average
    assert expected_calibration_error(reliability_bins(sure, outcomes)) == pytest.approx(
        0.25, abs=0.02
    )


@pytest.mark.parametrize(
    ("probabilities", "outcomes"), [([0.5], []), ([1.1], [1]), ([-0.1], [1]), ([0.5], [2])]
)
def test_what_is_no_prediction_is_refused(
    probabilities: list[float], outcomes: list[float]
) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        reliability_bins(probabilities, outcomes)
