"""How far a predicted probability can be taken at its word (section 3.4.1, Figure 29)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


def sigmoid(score: float) -> float:
    """1 / (1 + exp(-score)), without overflow: the probability that a raw score stands for.

    Worked example: 0 -> 0.5, -1.7346 -> 0.15.
    """
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    return math.exp(score) / (1.0 + math.exp(score))


class ReliabilityBin(NamedTuple):
    """Predictions of similar size: their mean, and how often what they predict was so.

    `low` and `high` are the bin's edges, `n` the predictions in it.
    """

    low: float
    high: float
    predicted: float
    observed: float
    n: int


def reliability_bins(
    probabilities: Sequence[float],
    outcomes: Sequence[float],
    num_bins: int = 10,
    low: float = 0.0,
) -> list[ReliabilityBin]:
    """Predictions in bins of equal width from `low` to 1; bins without any are left out.

    Args:
        probabilities: one a prediction, in [low, 1]; an inner edge belongs to the bin above it.
        outcomes: of the same length, in [0, 1]: 1 if what was predicted was so, 0.5 for a tie.
        low: 0, or 0.5 for the confidence in a choice between two.

    Raises:
        ValueError: the lengths differ, or a value lies outside its range.

    Worked example: (0.1, 0.9, 0.9) with outcomes (0, 1, 0) in two bins: (0.1, 0) of 1 and
    (0.9, 0.5) of 2.
    """
    if len(probabilities) != len(outcomes):
        raise ValueError(f"{len(probabilities)} probabilities, {len(outcomes)} outcomes")
    members: list[list[int]] = [[] for _ in range(num_bins)]
    width = (1.0 - low) / num_bins
    for place, (probability, outcome) in enumerate(zip(probabilities, outcomes, strict=True)):
        if not (low <= probability <= 1 and 0 <= outcome <= 1):
            raise ValueError(f"a probability of {probability} with the outcome {outcome}")
        members[min(num_bins - 1, int((probability - low) / width))].append(place)
    return [
        ReliabilityBin(
            low=low + number * width,
            high=low + (number + 1) * width,
            predicted=math.fsum(probabilities[place] for place in places) / len(places),
            observed=math.fsum(outcomes[place] for place in places) / len(places),
            n=len(places),
        )
        for number, places in enumerate(members)
        if places
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance of what was predicted from what was so, over all predictions.

    Args:
        bins: of `reliability_bins`.

    Returns:
        In [0, 1]; 0 for no predictions.

    Worked example: bins (0.1, 0) of 1 and (0.9, 0.5) of 2: (0.1 + 2 x 0.4) / 3 = 0.3.
    """
    total = sum(each.n for each in bins)
    return math.fsum(each.n * abs(each.predicted - each.observed) for each in bins) / max(1, total)
