"""Unsafe responses found by a low probability of being safe (sections 3.2.3 and A.3.3).

The paper calls a response unsafe below 0.15, chosen for its precision of 0.89 at a recall of 0.55;
Table 29 counts unsafe responses below 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

FILTER_PRECISION = 0.89
"""The precision that the paper's threshold of 0.15 has (section 3.2.3)."""


class Detection(NamedTuple):
    """What a threshold finds: of the found the share that is unsafe, of the unsafe the found.

    `found` counts responses under the threshold. Precision is 1 where nothing is found.
    """

    threshold: float
    precision: float
    recall: float
    found: int


def detection_at(
    probabilities: Sequence[float], is_safe: Sequence[bool], threshold: float
) -> Detection:
    """Precision and recall of "unsafe" said of every response with P(safe) < threshold.

    Args:
        probabilities: [N] of being safe, the sigmoid of raw scores.
        is_safe: [N] labels.

    Returns:
        Recall is 0 where no response is unsafe.

    Raises:
        ValueError: the lengths differ.

    Worked example: P (0.1, 0.2, 0.6) of unsafe, safe, unsafe at 0.5: precision 1/2, recall 1/2.
    """
    hits = [safe for p, safe in zip(probabilities, is_safe, strict=True) if p < threshold]
    return _detection(threshold, hits.count(False), len(hits), list(is_safe).count(False))


def detection_curve(probabilities: Sequence[float], is_safe: Sequence[bool]) -> list[Detection]:
    """Every threshold that finds other responses than the one before it, from low to high.

    A threshold stands midway between two neighbouring probabilities, the last one at 1 or just
    above it. Empty where there are no responses.

    Raises:
        ValueError: the lengths differ.
    """
    ordered = sorted(zip(probabilities, is_safe, strict=True))
    num_unsafe = sum(not safe for _, safe in ordered)
    curve: list[Detection] = []
    hits = 0
    for found, (probability, safe) in enumerate(ordered, 1):
        hits += not safe
        # What follows the last one lies as far beyond 1 as that before it: their middle is 1.
        following = ordered[found][0] if found < len(ordered) else 2.0 - probability
        if found == len(ordered) or following > probability:
            # The middle of two next neighbours may be the lower one itself.
            threshold = max((probability + following) / 2, math.nextafter(probability, 2.0))
            curve.append(_detection(threshold, hits, found, num_unsafe))
    return curve


def threshold_for(
    curve: Sequence[Detection], precision: float = FILTER_PRECISION
) -> Detection | None:
    """The threshold of the most recall among those with at least this precision.

    None where no threshold has it, or has it by finding anything. Of equals the lowest.

    Worked example: P (0.1, 0.2, 0.6) of unsafe, safe, unsafe: precision 0.89 is had at 0.15 alone,
    with a recall of 1/2.
    """
    fitting = [point for point in curve if point.precision >= precision and point.recall > 0]
    return max(fitting, key=lambda point: point.recall, default=None)


def unsafe_recall(probabilities: Sequence[float], is_safe: Sequence[bool]) -> float:
    """Share of unsafe responses with P(safe) < 0.5, that is, a raw score under 0 (Table 29).

    0 where none is unsafe.

    Worked example: P (0.1, 0.2, 0.6) of unsafe, safe, unsafe: 1/2.
    """
    return detection_at(probabilities, is_safe, 0.5).recall


def _detection(threshold: float, hits: int, found: int, num_unsafe: int) -> Detection:
    precision = hits / found if found else 1.0
    return Detection(threshold, precision, hits / max(1, num_unsafe), found)


def roc_auc(scores: Sequence[float], is_positive: Sequence[bool]) -> float:
    """Area under the ROC curve: how often a positive has the higher score than a negative.

    Args:
        scores: [N], finite.
        is_positive: [N].

    Returns:
        In [0, 1]; ties count half.

    Raises:
        ValueError: the lengths differ, or there are no positives or no negatives.

    Worked example: scores (0.9, 0.4, 0.4, 0.1) with labels (1, 0, 1, 0): of 4 pairs 3 are in order
    and one is a tie, 3.5 / 4 = 0.875.
    """
    if len(scores) != len(is_positive):
        raise ValueError(f"{len(scores)} scores, {len(is_positive)} labels")
    positives = sum(is_positive)
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        raise ValueError("positives and negatives are needed")
    order = sorted(range(len(scores)), key=lambda place: scores[place])
    # Mann and Whitney: from the ranks of the positives, ties with their mean rank.
    ranks, start = 0.0, 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        mean_rank = (start + 1 + end) / 2
        ranks += mean_rank * sum(is_positive[place] for place in order[start:end])
        start = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
