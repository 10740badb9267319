"""How far two judges agree: on choices, beyond chance, and on an order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def agreement_share(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Share of items on which both say the same; 0 for no items.

    Raises:
        ValueError: the lengths differ.
    """
    return sum(a == b for a, b in zip(first, second, strict=True)) / max(1, len(first))


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa: agreement beyond what the judges' own habits make by chance.

    (p_o - p_e) / (1 - p_e), where p_o is the share of items on which both say the same and p_e that
    of two judges who say as often what these say, each without looking. Of two scorers whose
    items are "orders this pair right" it is 0 if their errors are independent, 1 if the same.

    Args:
        first, second: what each says of the same items.

    Returns:
        At most 1; NaN where p_e is 1 (both say one thing throughout) or there are no items.

    Raises:
        ValueError: the lengths differ.

    Worked example: of 50 items both say yes to 20 and no to 15, the first alone yes to 5, the
    second alone to 10: p_o 0.7, p_e 0.5 x 0.6 + 0.5 x 0.4 = 0.5, kappa 0.4.
    """
    n = len(first)
    observed = agreement_share(first, second)
    if n == 0:
        return math.nan
    counts = Counter(first), Counter(second)
    chance = sum(counts[0][value] * counts[1][value] for value in counts[0]) / n**2
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation: whether what one puts higher the other does too.

    Equal values share the mean of their ranks.

    Returns:
        In [-1, 1]; NaN where either says the same of all, or of fewer than two items.

    Raises:
        ValueError: the lengths differ.

    Worked example: (1, 2, 3) and (10, 30, 20): 1 - 6 x (0 + 1 + 1) / (3 x 8) = 0.5.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values and {len(second)}")
    middle = (len(first) + 1) / 2
    ranks = [[rank - middle for rank in _ranks(values)] for values in (first, second)]
    spread = math.sqrt(math.prod(math.fsum(rank * rank for rank in each) for each in ranks))
    shared = math.fsum(a * b for a, b in zip(*ranks, strict=True))
    return max(-1.0, min(1.0, shared / spread)) if spread else math.nan


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; of equal values the mean."""
    places: dict[float, list[int]] = {}
    for rank, value in enumerate(sorted(values), 1):
        places.setdefault(value, []).append(rank)
    return [sum(places[value]) / len(places[value]) for value in values]
