"""What a scorer makes of single answers: against human grades (Figure 29) and safety labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from arriero.equations.agreement import rank_correlation
from arriero.equations.calibration import expected_calibration_error, reliability_bins, sigmoid
from arriero.equations.detection import (
    FILTER_PRECISION,
    Detection,
    detection_at,
    detection_curve,
    threshold_for,
    unsafe_recall,
)
from arriero.equations.intervals import paired_interval
from arriero.equations.reward import SAFETY_THRESHOLD
from arriero.evaluation.scorers import PairScores
from arriero.records import BEST_GRADE, Preference

_MOST_POINTS = 200

Labelled = list[tuple[float, bool]]
"""Raw scores with whether the answer is safe."""


def labelled_of_pairs(pairs: Sequence[Preference], scores: Sequence[PairScores | None]) -> Labelled:
    """Every scored answer of the pairs that has a safety label."""
    found: Labelled = []
    for pair, given in zip(pairs, scores, strict=True):
        if given is not None:
            labels = pair.chosen_is_safe, pair.rejected_is_safe
            found += [
                (score, is_safe)
                for score, is_safe in zip(given, labels, strict=True)
                if is_safe is not None
            ]
    return found


def detection_figures(labelled: Labelled) -> dict[str, Any] | None:
    """How well a low sigmoid(score) finds unsafe answers; None without labels.

    Returns:
        At the paper's threshold and, as `chosen`, at the one that keeps the paper's precision with
        the most recall (None if there is none); `unsafe_recall` at 0.5 (Table 29); and the curve,
        thinned to some two hundred thresholds.
    """
    if not labelled:
        return None
    probabilities = [sigmoid(score) for score, _ in labelled]
    is_safe = [safe for _, safe in labelled]
    curve = detection_curve(probabilities, is_safe)
    chosen = threshold_for(curve)
    return {
        "n": len(labelled),
        "num_unsafe": is_safe.count(False),
        "paper": detection_at(probabilities, is_safe, SAFETY_THRESHOLD)._asdict(),
        "wanted_precision": FILTER_PRECISION,
        "chosen": None if chosen is None else chosen._asdict(),
        "unsafe_recall": unsafe_recall(probabilities, is_safe),
        "curve": [point._asdict() for point in _thinned(curve)],
    }


def _thinned(curve: Sequence[Detection]) -> Sequence[Detection]:
    step = -(-len(curve) // _MOST_POINTS)
    return [*curve[:-1:step], *curve[-1:]] if step > 1 else curve


def grade_figures(
    scores: Sequence[float], grades: Sequence[float], is_logit: bool
) -> dict[str, Any] | None:
    """Scores by human grade, in the shape of Figure 29; None without any.

    Args:
        scores: [N].
        grades: [N], 1 to 7; the figure shows them rounded.
        is_logit: whether the sigmoid of a score is a probability. Then it is also compared with
            the grade as a share of the scale, (grade - 1) / 6: an assumption, since a grade is no
            probability, but one that shows a model that is too sure of itself.

    Returns:
        `by_grade` with the mean score and its 95% interval, `correlation` by rank, None where it is
        not defined, and with `is_logit` the calibration error `ece` and its `bins`.
    """
    if not scores:
        return None
    by_grade: dict[int, list[float]] = {}
    for score, grade in zip(scores, grades, strict=True):
        by_grade.setdefault(math.floor(grade + 0.5), []).append(score)
    correlation = rank_correlation(scores, grades)
    figures: dict[str, Any] = {
        "n": len(scores),
        "correlation": None if math.isnan(correlation) else correlation,
        "by_grade": [_mean(grade, by_grade[grade], is_logit) for grade in sorted(by_grade)],
    }
    if is_logit:
        bins = reliability_bins(
            [sigmoid(score) for score in scores],
            [(grade - 1) / (BEST_GRADE - 1) for grade in grades],
        )
        figures["ece"] = expected_calibration_error(bins)
        figures["bins"] = [each._asdict() for each in bins]
    return figures


def _mean(grade: int, scores: Sequence[float], is_logit: bool) -> dict[str, Any]:
    mean = math.fsum(scores) / len(scores)
    low, high = paired_interval(scores)[1:] if len(scores) > 1 else (None, None)
    entry: dict[str, Any] = {"grade": grade, "n": len(scores)}
    entry |= {"score": mean, "low": low, "high": high}
    if is_logit:
        entry["probability"] = math.fsum(map(sigmoid, scores)) / len(scores)
    return entry
