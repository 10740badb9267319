"""Contamination of an evaluation set: shares, four subsets, and whether it shows (A.6)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]

# A subset, and the sign of its Z where contamination helps.
SUBSETS = {"clean": -1, "not clean": 1, "not dirty": -1, "dirty": 1}

_CLEAN_BELOW, _DIRTY_FROM = 0.2, 0.8
_Z = 2.0


@dataclass(frozen=True, slots=True)
class SubsetFigures:
    """A row of Table 51: one subset of a data set.

    Attributes:
        n: samples.
        contamination: their average share of contaminated tokens; None for an empty subset.
        mean: their average metric; None without a metric.
        expected, deviation: mean and standard deviation of the average metric of n samples.
        z: how far the subset lies from what is expected, in deviations; None where that is unsaid.
    """

    n: int
    contamination: float | None
    mean: float | None = None
    expected: float | None = None
    deviation: float | None = None
    z: float | None = None


def merged_spans(spans: Iterable[Span]) -> list[Span]:
    """The union of half-open spans as few spans, in order; spans that touch become one.

    Worked example: (0, 12), (5, 17), (30, 41) -> (0, 17), (30, 41).
    """
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def contaminated_share(spans: Iterable[Span], num_tokens: int) -> float:
    """The share of a sample's tokens that lie in a span; 0 for a sample without tokens.

    Args:
        spans: half-open, in tokens of the sample; they may overlap.

    Raises:
        ValueError: a span is empty, or lies outside the sample.

    Worked example: 50 tokens, spans (0, 12), (5, 17) and (30, 41): 17 + 11 of 50 = 0.56.
    """
    spans = list(spans)
    if any(not 0 <= begin < end <= num_tokens for begin, end in spans):
        raise ValueError(f"spans {spans} of {num_tokens} tokens")
    covered = sum(end - begin for begin, end in merged_spans(spans))
    return covered / num_tokens if num_tokens else 0.0


def in_subset(shares: Sequence[float]) -> dict[str, NDArray[np.bool_]]:
    """Which samples belong to each subset, by their shares of contaminated tokens.

    clean below 20%, not clean from 20% on, not dirty below 80%, dirty from 80% on: the first two
    part all samples, and so do the last two.
    """
    given = np.asarray(shares, np.float64)
    clean, dirty = given < _CLEAN_BELOW, given >= _DIRTY_FROM
    return {"clean": clean, "not clean": ~clean, "not dirty": ~dirty, "dirty": dirty}


def sampling_distribution(
    metric: Sequence[float], n: int, *, replacement: bool = True
) -> tuple[float, float]:
    """Mean and standard deviation of the average metric of n samples drawn at random.

    mu_n = mean(x). With replacement sigma_n = s / sqrt(n), s the standard deviation of all N values
    (divided by N). Without replacement sigma_n has the further factor sqrt((N - n) / (N - 1)).

    The paper does not say which it is. The rows that it prints fit draws with replacement, which
    is the default; without it, |Z| is larger for every subset of more than one sample.

    Args:
        metric: one value a sample, of the whole data set.
        n: size of the subset, from 1; without replacement up to the number of samples.

    Raises:
        ValueError: there is no such subset.

    Worked example: (1, 1, 0, 0), n = 2: mean 0.5, s = 0.5; with replacement
    0.5 / sqrt(2) = 0.3536, without 0.3536 x sqrt(2 / 3) = 0.2887.
    """
    values = np.asarray(metric, np.float64)
    if n < 1 or len(values) == 0 or (not replacement and n > len(values)):
        raise ValueError(f"a subset of {n} of {len(values)} samples")
    # Of equal values the mean is off by a rounding, and so would be the deviation.
    is_constant = values.min() == values.max()
    deviation = 0.0 if is_constant else float(values.std()) / math.sqrt(n)
    if not replacement:
        deviation *= math.sqrt((len(values) - n) / max(1, len(values) - 1))
    return float(values.mean()), deviation


def subset_figures(
    shares: Sequence[float], metric: Sequence[float] | None = None, *, replacement: bool = True
) -> dict[str, SubsetFigures]:
    """The four rows of a data set in Table 51.

    Z = (mean - mu_n) / sigma_n; None for an empty subset and where sigma_n is 0.

    Args:
        shares: contaminated tokens of each sample, as shares.
        metric: a value of each sample; None gives the shares alone.

    Raises:
        ValueError: not as many values as shares.

    Worked example: shares (0, 0, 0.5, 1), metric (0, 0, 1, 1): mu 0.5, s 0.5. Clean are the first
    two, mean 0, sigma 0.3536, Z = -1.414; dirty is the last, mean 1, sigma 0.5, Z = 1.
    """
    if metric is not None and len(metric) != len(shares):
        raise ValueError(f"{len(metric)} values of {len(shares)} samples")
    given = np.asarray(shares, np.float64)
    figures: dict[str, SubsetFigures] = {}
    for name, inside in in_subset(shares).items():
        n = int(inside.sum())
        contamination = float(given[inside].mean()) if n else None
        if metric is None or n == 0:
            figures[name] = SubsetFigures(n, contamination)
            continue
        mean = float(np.asarray(metric, np.float64)[inside].mean())
        expected, deviation = sampling_distribution(metric, n, replacement=replacement)
        z = (mean - expected) / deviation if deviation > 0 else None
        figures[name] = SubsetFigures(n, contamination, mean, expected, deviation, z)
    return figures


def is_affected(figures: dict[str, SubsetFigures], *, higher_is_better: bool = True) -> bool:
    """Whether contamination has changed a data set's metric: all four |Z| > 2, with the right sign.

    Where a higher metric is better, clean and not dirty lie below what is expected, not clean and
    dirty above it.

    Args:
        figures: of the four subsets; one without a Z says nothing, so the set is not affected.
    """
    good = 1 if higher_is_better else -1
    return all(
        (z := figures[name].z) is not None and z * sign * good > _Z
        for name, sign in SUBSETS.items()
    )


def as_row(figures: SubsetFigures) -> dict[str, Any]:
    """The figures by the names that they have in results.json."""
    return {
        "n": figures.n,
        "contamination": figures.contamination,
        "mean": figures.mean,
        "mu_n": figures.expected,
        "sigma_n": figures.deviation,
        "z": figures.z,
    }
