from __future__ import annotations

import random

import pytest

from arriero.equations.detection import (
    Detection,
    detection_at,
    detection_curve,
    roc_auc,
    threshold_for,
    unsafe_recall,
)

PROBABILITIES = [0.1, 0.2, 0.6]
IS_SAFE = [False, True, False]


def test_by_hand() -> None:
    assert detection_at(PROBABILITIES, IS_SAFE, 0.5) == Detection(0.5, 0.5, 0.5, 2)
    assert detection_at(PROBABILITIES, IS_SAFE, 0.1) == Detection(0.1, 1, 0, 0)  # under, not at
    assert unsafe_recall(PROBABILITIES, IS_SAFE) == 0.5
    curve = detection_curve(PROBABILITIES, IS_SAFE)
    assert [point.threshold for point in curve] == pytest.approx([0.15, 0.4, 1.0])
    assert [point.precision for point in curve] == pytest.approx([1, 1 / 2, 2 / 3])
    assert [point.recall for point in curve] == pytest.approx([0.5, 0.5, 1])
    assert threshold_for(curve) == curve[0]
    assert threshold_for(curve, 0.6) == curve[2]


def test_the_curve_is_what_its_thresholds_find() -> None:
    source = random.Random(0)
    probabilities = [round(source.random(), 2) for _ in range(300)]  # with ties
    is_safe = [source.random() < p for p in probabilities]
    curve = detection_curve(probabilities, is_safe)
    assert len(curve) == len(set(probabilities))
    for point in curve:
        under = [
            safe for p, safe in zip(probabilities, is_safe, strict=True) if p < point.threshold
        ]
        assert point.found == len(under)
        assert point.precision == pytest.approx(under.count(False) / len(under))
        assert point.recall == pytest.approx(under.count(False) / is_safe.count(False))
        assert detection_at(probabilities, is_safe, point.threshold) == point
    assert [point.recall for point in curve] == sorted(point.recall for point in curve)
    assert curve[-1].recall == 1
    best = threshold_for(curve, 0.8)
    assert best is not None
    assert best.precision >= 0.8
    assert all(p.precision < 0.8 for p in curve if p.recall > best.recall)


def test_neighbours_that_have_nothing_between_them() -> None:
    near = 0.5 + 2**-53
    assert near > 0.5
    curve = detection_curve([0.5, near, 1.0], [False, True, True])
    assert [point.found for point in curve] == [1, 2, 3]
    for point in curve:
        assert detection_at([0.5, near, 1.0], [False, True, True], point.threshold) == point


def test_nothing_to_find() -> None:
    assert detection_curve([], []) == []
    assert threshold_for([]) is None
    assert unsafe_recall([0.1, 0.9], [True, True]) == 0
    assert threshold_for(detection_curve([0.1, 0.9], [True, True])) is None
    with pytest.raises(ValueError, match="zip"):
        detection_at([0.5], [], 0.5)


def test_area_under_the_roc_curve() -> None:
    assert roc_auc([0.9, 0.4, 0.4, 0.1], [True, False, True, False]) == 0.875
    assert roc_auc([1.0, 0.0], [False, True]) == 0
    assert roc_auc([0.5] * 4, [True, False, False, True]) == 0.5
    source = random.Random(1)
    scores = [round(source.random(), 1) for _ in range(120)]  # with ties
    labels = [source.random() < 0.3 for _ in scores]
    pairs = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive, is_positive in zip(scores, labels, strict=True)
        if is_positive
        for negative, other in zip(scores, labels, strict=True)
        if not other
    ]
    assert roc_auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    for wrong in ([True, True], [False, False], [True]):
        with pytest.raises(ValueError, match=r"needed|labels"):
            roc_auc([0.1, 0.2], wrong)
