"""Accuracy by group, comparisons, calibration, detection: counted by hand and by slow loops."""

from __future__ import annotations

import math

import pytest

from arriero.data.tags import prompt_key
from arriero.equations.calibration import sigmoid
from arriero.equations.intervals import wilson_interval
from arriero.evaluation.folds import prompt_folds
from arriero.evaluation.pair_figures import (
    accuracies,
    comparisons,
    groups_of,
    outcome,
    pair_calibration,
)
from arriero.evaluation.response_figures import (
    detection_figures,
    grade_figures,
    labelled_of_pairs,
)
from arriero.records import Message, Preference, Rating
from tests.evaluation.conftest import pair


def test_groups_by_hand() -> None:
    long = pair(0, "word " * 70, "short", rating=Rating.BETTER, chosen_is_safe=True)
    assert groups_of(long) == {
        "all": "all",
        "rating": "better",
        "turns": "1",
        "words": "64 to 255",
        "chosen is": "longer",
    }
    turns = (Message("user", "a"), Message("assistant", "b")) * 5 + (Message("user", "c"),)
    many = Preference(turns, "x", "yy", chosen_is_safe=False, rejected_is_safe=True)
    assert groups_of(many) == {
        "all": "all",
        "safety": "unsafe over safe",
        "turns": "4 or more",
        "words": "under 16",
        "chosen is": "shorter",
    }


def test_accuracy_by_hand() -> None:
    rows = [pair(number, rating=list(Rating)[number % 2]) for number in range(5)]
    found = accuracies(rows, [(1, 0), (0, 1), (1, 1), None, (2, 1)])
    low, high = wilson_interval(2.5, 4)
    assert found["all"]["all"] == {"accuracy": 2.5 / 4, "low": low, "high": high, "n": 4}
    by_rating = found["rating"]
    assert list(by_rating) == ["significantly_better", "better"]
    assert (by_rating["significantly_better"]["accuracy"], by_rating["better"]["n"]) == (2.5 / 3, 1)
    assert "safety" not in found
    assert accuracies(rows, [None] * 5) == {}


def test_every_grouping_parts_the_pairs(pairs: list[Preference]) -> None:
    scores = [(float(n % 3), 1.0) for n in range(len(pairs))]
    found = accuracies(pairs, scores)
    for grouping, groups in found.items():
        assert sum(entry["n"] for entry in groups.values()) == len(pairs), grouping
        right = sum(entry["accuracy"] * entry["n"] for entry in groups.values())
        assert right == pytest.approx(sum(outcome(each) for each in scores)), grouping


def test_two_scorers_beside_one_another() -> None:
    rows = [pair(number) for number in range(40)]
    right, wrong = (1.0, 0.0), (0.0, 1.0)
    first = [right] * 30 + [wrong] * 10
    second = [right] * 20 + [wrong] * 20
    (found,) = comparisons(rows, {"a": first, "b": second})
    assert found["difference"] == pytest.approx(0.25)
    assert 0 < found["low"] < 0.25 < found["high"]
    assert found["agreement"] == 0.75
    assert found["kappa"] == pytest.approx((0.75 - 0.5) / 0.5)  # chance 0.75 x 0.5 + 0.25 x 0.5
    partly = [None] * 35 + [right] * 5
    (fewer,) = comparisons(rows, {"a": first, "b": partly})
    assert (fewer["n"], fewer["difference"], fewer["kappa"]) == (5, -1, 0)
    (same,) = comparisons(rows[:30], {"a": first[:30], "c": first[:30]})
    assert (same["agreement"], same["kappa"]) == (1, None)
    assert comparisons(rows, {"a": first, "c": [None] * 40}) == []


def test_pairs_of_one_prompt_widen_the_interval() -> None:
    right, wrong = (1.0, 0.0), (0.0, 1.0)
    outcomes = [right if number % 3 else wrong for number in range(60)]
    apart = [pair(number) for number in range(60)]
    together = [pair(number // 10) for number in range(60)]
    blocks = [right if (number // 10) % 3 else wrong for number in range(60)]
    (single,) = comparisons(apart, {"a": outcomes, "b": [wrong] * 60})
    (grouped,) = comparisons(together, {"a": blocks, "b": [wrong] * 60})
    assert single["difference"] == pytest.approx(grouped["difference"])
    assert grouped["high"] - grouped["low"] > 1.5 * (single["high"] - single["low"])


def test_calibration_of_pairs_by_hand() -> None:
    sure = math.log(0.9 / 0.1)
    found = pair_calibration([(sure, 0), (sure, 0), (0, sure), None])
    assert found["n"] == 3
    assert found["ece"] == pytest.approx(0.9 - 2 / 3)
    assert found["bins"][0]["predicted"] == pytest.approx(0.9)
    assert pair_calibration([(1.0, 1.0)])["ece"] == pytest.approx(0)
    assert sigmoid(800) == 1
    assert sigmoid(-800) == 0
    assert sigmoid(-2) == pytest.approx(1 - sigmoid(2))


def test_labels_of_pairs_and_detection() -> None:
    rows = [pair(0, chosen_is_safe=True, rejected_is_safe=False), pair(1, chosen_is_safe=True)]
    labelled = labelled_of_pairs(rows, [(1.0, -3.0), (2.0, 0.0)])
    assert labelled == [(1.0, True), (-3.0, False), (2.0, True)]
    found = detection_figures([*labelled, (-0.5, False), (-0.2, True)])
    assert found is not None
    assert (found["n"], found["num_unsafe"]) == (5, 2)
    assert found["paper"]["precision"] == 1  # sigmoid(-3) = 0.047 alone lies under 0.15
    assert found["paper"]["recall"] == 0.5
    assert found["unsafe_recall"] == 1
    assert found["chosen"]["recall"] == 1
    assert sigmoid(-0.5) < found["chosen"]["threshold"] < sigmoid(-0.2)
    assert labelled_of_pairs(rows, [None, None]) == []
    assert detection_figures([]) is None


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    labelled = [(number / 100, number % 3 > 0) for number in range(1000)]
    found = detection_figures(labelled)
    assert found is not None
    assert len(found["curve"]) <= 201
    assert found["curve"][-1]["recall"] == 1


def test_grades_by_hand() -> None:
    found = grade_figures([0.0, 2.0, -1.0], [4, 7, 1], is_logit=True)
    assert found is not None
    assert [each["grade"] for each in found["by_grade"]] == [1, 4, 7]
    assert found["correlation"] == pytest.approx(1)
    gaps = [sigmoid(-1) - 0, sigmoid(0) - 0.5, 1 - sigmoid(2)]
    assert found["ece"] == pytest.approx(sum(gaps) / 3)
    many = grade_figures([1.0, 3.0, 2.0], [6.5, 6.6, 2.4], is_logit=False)
    assert many is not None
    assert "ece" not in many
    assert [(each["grade"], each["n"], each["score"]) for each in many["by_grade"]] == [
        (2, 1, 2.0),
        (7, 2, 2.0),
    ]
    assert grade_figures([], [], is_logit=True) is None


def test_folds_share_no_prompt() -> None:
    rows = [pair(number % 200, chosen=f"c{number}") for number in range(1000)]
    shout = Preference((Message("user", "  SALT   0? "),), "c", "r")
    longer = (*rows[0].prompt, Message("assistant", "x"), Message("user", "on"))
    rows += [shout, Preference(longer, "c", "r")]
    folds = prompt_folds(rows, 5, seed=3)
    assert sorted(map(id, rows)) == sorted(id(row) for fold in folds for row in fold)
    opened = [{" ".join(row.prompt[0].content.lower().split()) for row in fold} for fold in folds]
    for number, fold in enumerate(opened):
        assert all(fold.isdisjoint(other) for other in opened[number + 1 :])
    assert all(120 < len(fold) < 280 for fold in folds)
    assert prompt_folds(rows[:500], 5, seed=3)[0] == [row for row in folds[0] if row in rows[:500]]
    german = [
        Preference((Message("user", text),), "c", "r")
        for number in range(20)
        for text in (f"Straße {number}", f"STRASSE  {number}")
    ]
    for one, other in zip(german[::2], german[1::2], strict=True):
        assert prompt_key(one.prompt) == prompt_key(other.prompt), "leaks are found by this key"
    for fold in prompt_folds(german, 5):
        numbers = [row.prompt[0].content.split()[1] for row in fold]
        assert numbers[::2] == numbers[1::2]
    with pytest.raises(ValueError, match="two are needed"):
        prompt_folds(rows, 1)
