from __future__ import annotations

import math
import random
import statistics

import pytest

from arriero.equations.intervals import (
    Estimate,
    paired_bootstrap,
    paired_interval,
    student_quantile,
    wilson_interval,
    win_rate,
)


def test_wilson_by_hand() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    # 0 of n: the upper end is z^2 / (n + z^2).
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(1.96**2 / (10 + 1.96**2))
    assert wilson_interval(10, 10) == pytest.approx((1 - high, 1))
    assert wilson_interval(0, 0) == (0, 1)


def test_wilson_reaches_the_ends_exactly() -> None:
    for n in range(1, 500):
        assert wilson_interval(0, n)[0] == 0
        assert wilson_interval(n, n)[1] == 1


@pytest.mark.parametrize(("successes", "n"), [(1, 7), (3, 6), (50, 80), (4.5, 9), (799, 1000)])
def test_wilson_ends_are_the_shares_that_lie_z_errors_away(successes: float, n: int) -> None:
    # The definition: |share - p| = z sqrt(p (1 - p) / n), solved by bisection.
    share = successes / n

    def solve(inside: float, outside: float) -> float:
        for _ in range(100):
            middle = (inside + outside) / 2
            if abs(share - middle) <= 1.96 * math.sqrt(middle * (1 - middle) / n):
                inside = middle
            else:
                outside = middle
        return inside

    assert wilson_interval(successes, n) == pytest.approx((solve(share, 0), solve(share, 1)))


def test_wilson_properties() -> None:
    for n in (1, 2, 5, 40):
        for successes in range(n + 1):
            low, high = wilson_interval(successes, n)
            assert 0 <= low <= successes / n <= high <= 1
            assert low < high
            mirrored = wilson_interval(n - successes, n)
            assert mirrored == pytest.approx((1 - high, 1 - low))
            wider = wilson_interval(successes, n, z=2.58)
            assert wider[0] <= low
            assert wider[1] >= high


def test_wilson_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0.0
    for successes in range(41):
        low, high = wilson_interval(successes, 40)
        if low <= 0.3 <= high:
            covered += math.comb(40, successes) * 0.3**successes * 0.7 ** (40 - successes)
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


def test_paired_interval_by_hand() -> None:
    # Variance 1/3, standard error sqrt(1/12) = 0.2887.
    result = paired_interval([1, 0, 1, 0])
    assert result == pytest.approx((0.5, 0.5 - 1.96 / math.sqrt(12), 0.5 + 1.96 / math.sqrt(12)))
    assert paired_interval([0.25] * 3) == (0.25, 0.25, 0.25)


def test_paired_interval_against_statistics() -> None:
    source = random.Random(0)
    differences = [source.gauss(0.2, 1) for _ in range(57)]
    result = paired_interval(differences)
    error = statistics.stdev(differences) / math.sqrt(57)
    assert result.value == pytest.approx(statistics.mean(differences))
    assert result.high - result.value == pytest.approx(1.96 * error)
    assert result.value - result.low == pytest.approx(1.96 * error)
    mirrored = paired_interval([-difference for difference in differences])
    assert mirrored == pytest.approx((-result.value, -result.high, -result.low))
    assert paired_interval(differences[::-1]) == pytest.approx(result)


def test_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    source = random.Random(1)
    covered = 0
    for _ in range(1000):
        _, low, high = paired_interval([source.gauss(0.3, 1) for _ in range(40)])
        covered += low <= 0.3 <= high
    assert 915 < covered < 970


@pytest.mark.parametrize("differences", [[], [0.5]])
def test_too_few_differences_are_refused(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        paired_interval(differences)


def test_win_rate() -> None:
    result = win_rate(8, 5, 2)
    assert isinstance(result, Estimate)
    assert result == pytest.approx((0.8, *wilson_interval(8, 10)))
    assert win_rate(8, 500, 2) == result  # ties do not count
    lost = win_rate(2, 5, 8)
    assert lost == pytest.approx((1 - result.value, 1 - result.high, 1 - result.low))
    assert win_rate(0, 3, 0) == (0.5, 0, 1)
    with pytest.raises(ValueError, match="negative"):
        win_rate(1, -1, 1)


def test_student_by_hand() -> None:
    """Of one value's freedom it is the tangent of 0.475 pi; it falls to the normal's 1.96."""
    assert student_quantile(1) == pytest.approx(math.tan(0.475 * math.pi), abs=1e-3)
    # Freedom 2 has the closed form sqrt(2 a^2 / (1 - a^2)) with a = 0.95.
    assert student_quantile(2) == pytest.approx(math.sqrt(2 * 0.95**2 / (1 - 0.95**2)), abs=1e-3)
    assert student_quantile(30) == pytest.approx(2.0423, abs=1e-3)
    assert student_quantile(10**6) == pytest.approx(1.96, abs=1e-4)
    values = [student_quantile(freedom) for freedom in range(1, 200)]
    assert values == sorted(values, reverse=True)
    with pytest.raises(ValueError, match="two values"):
        student_quantile(0)


def test_student_intervals_of_three_values_hold_the_truth_as_often_as_they_say() -> None:
    draw = random.Random(0)
    inside = 0
    for _ in range(4000):
        estimate = paired_interval([draw.gauss(1, 2) for _ in range(3)], student_quantile(2))
        inside += estimate.low <= 1 <= estimate.high
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


def test_paired_bootstrap_by_hand() -> None:
    result = paired_bootstrap([1, 1, 0, 0], ["a", "a", "b", "b"])
    assert result == (0.5, 0.0, 1.0)  # each end has a quarter of the resamples
    assert paired_bootstrap([0.25] * 5) == (0.25, 0.25, 0.25)


def test_paired_bootstrap_against_a_slow_loop_and_the_normal_interval() -> None:
    source = random.Random(2)
    differences = [source.gauss(0.2, 1) for _ in range(200)]
    result = paired_bootstrap(differences, num_resamples=4000)
    normal = paired_interval(differences)
    assert result.value == pytest.approx(normal.value)
    assert result.low == pytest.approx(normal.low, abs=0.02)
    assert result.high == pytest.approx(normal.high, abs=0.02)
    means = sorted(statistics.mean(source.choices(differences, k=200)) for _ in range(4000))
    assert result.low == pytest.approx(means[100], abs=0.02)
    assert result.high == pytest.approx(means[3900], abs=0.02)


def test_paired_bootstrap_draws_whole_groups() -> None:
    """Ten copies of an item say no more than the item: the interval stays as wide."""
    source = random.Random(3)
    values = [source.gauss(0, 1) for _ in range(40)]
    once = paired_bootstrap(values)
    copied = [value for value in values for _ in range(10)]
    grouped = paired_bootstrap(copied, [number // 10 for number in range(400)])
    assert grouped == pytest.approx(once)
    alone = paired_bootstrap(copied)
    assert alone.high - alone.low < 0.5 * (grouped.high - grouped.low)


def test_paired_bootstrap_is_its_seed_and_refuses_nothing() -> None:
    values = [0.1 * n * n - 2 for n in range(30)]
    assert paired_bootstrap(values, seed=1) == paired_bootstrap(values, seed=1)
    assert paired_bootstrap(values, seed=1) != paired_bootstrap(values, seed=2)
    for differences, groups in (([], None), ([1.0], [])):
        with pytest.raises(ValueError, match="differences in"):
            paired_bootstrap(differences, groups)
