"""Shares and differences with their 95% intervals (section 3.4, A.3.7)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Estimate(NamedTuple):
    """A value and the two ends of its interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share: inside [0, 1], and of some width even at 0 of n.

    Args:
        successes: 0..n (halves allowed, for ties).
        n: number of trials; 0 gives (0, 1), as nothing is known.
        z: width in standard deviations; 1.96 for 95%.

    Returns:
        (low, high).

    Raises:
        ValueError: successes lie outside 0..n.

    Worked example: 8 of 10 -> (0.490, 0.943); 0 of 10 -> (0, 0.278).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # At the two ends the exact bounds are 0 and 1; rounding would miss them by a last bit.
    low = 0.0 if successes == 0 else max(0.0, center - reach)
    high = 1.0 if successes == n else min(1.0, center + reach)
    return low, high


def paired_interval(differences: Sequence[float], z: float = 1.96) -> Estimate:
    """Mean difference of two systems on the same items, with its normal interval.

    Pairing takes the difficulty of the items out of the interval. Normal rather than bootstrap:
    the same numbers for the same data, and at hundreds of items the two agree.

    Args:
        differences: one number an item, of the first system minus the second.
        z: width in standard errors of the mean (variance over n - 1).

    Raises:
        ValueError: fewer than two differences: no spread can be estimated.

    Worked example: (1, 0, 1, 0) -> 0.5 with (-0.066, 1.066).
    """
    n = len(differences)
    if n < 2:
        raise ValueError(f"an interval needs at least two differences, not {n}")
    mean = math.fsum(differences) / n
    variance = math.fsum((difference - mean) ** 2 for difference in differences) / (n - 1)
    reach = z * math.sqrt(variance / n)
    return Estimate(mean, mean - reach, mean + reach)


def standard_error(total: float, squares: float, n: int) -> float:
    """Standard error of a mean, from the sum of n values and the sum of their squares.

    For values that lie on several ranks: sums add up. 0 for fewer than two values.

    Worked example: 1, 0, 1, 0: sums 2 and 2, variance 1/3, error (1/12)^1/2 = 0.289.
    """
    if n < 2:
        return 0.0
    variance = max(0.0, squares - total * total / n) / (n - 1)
    return math.sqrt(variance / n)


def paired_bootstrap(
    differences: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean difference of two systems on the same items, with its 95% percentile bootstrap interval.

    For items that are not independent, such as pairs of one prompt: whole groups are drawn, so
    that what the items of a group share is not counted as often as it has items.

    Args:
        differences: one number an item, of the first system minus the second.
        groups: the group of each item; without them each item is its own.
        seed: the same numbers for the same data and seed.

    Raises:
        ValueError: there are no differences, or not one group for each.

    Worked example: (1, 1, 0, 0) in groups (a, a, b, b): the resamples aa, ab, ba, bb have the means
    1, 0.5, 0.5 and 0, so 0.5 with (0, 1).
    """
    names = range(len(differences)) if groups is None else groups
    if not differences or len(names) != len(differences):
        raise ValueError(f"{len(differences)} differences in {len(names)} groups")
    place_of = {name: place for place, name in enumerate(dict.fromkeys(names))}
    places = np.array([place_of[name] for name in names])
    sums = np.bincount(places, weights=np.asarray(differences, dtype=np.float64))
    sizes = np.bincount(places)
    source = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for number in range(num_resamples):
        drawn = source.integers(len(sums), size=len(sums))
        means[number] = sums[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(math.fsum(differences) / len(differences), float(low), float(high))


def student_quantile(freedom: int) -> float:
    """The 97.5% point of Student's t: the `z` of a 95% interval from a handful of values.

    Args:
        freedom: values minus one, at least 1. Beyond 10 an expansion in 1 / freedom, which is
            right to 0.003.

    Raises:
        ValueError: `freedom` is below 1.

    Worked example: three seeds, freedom 2 -> 4.303.
    """
    if freedom < 1:
        raise ValueError(f"{freedom} degrees of freedom; two values are needed at least")
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def win_rate(wins: int, ties: int, losses: int, z: float = 1.96) -> Estimate:
    """wins / (wins + losses) with Wilson's interval: ties are reported, not counted (section 3.4).

    Without a win or a loss the value is 0.5 and the interval (0, 1).

    Raises:
        ValueError: a count is negative.

    Worked example: 8 wins, 5 ties, 2 losses -> 0.8 with (0.490, 0.943).
    """
    if min(wins, ties, losses) < 0:
        raise ValueError(f"negative count among {wins} wins, {ties} ties, {losses} losses")
    decided = wins + losses
    value = wins / decided if decided else 0.5
    return Estimate(value, *wilson_interval(wins, decided, z))
