"""Figures over graded answers, worked by hand on a handful of them."""

from __future__ import annotations

import math

import pytest

from arriero.equations.intervals import paired_interval, wilson_interval
from arriero.evaluation.comparison import (
    EVERY_SET,
    distributions,
    label_shares,
    paired_difference,
    path_point,
    set_figures,
    win_tie_loss,
)
from arriero.evaluation.graded import GradedAnswer
from arriero.records import Grade, Message, Prompt
from arriero.records.prompt import Track

ODDS_3 = math.log(3)  # the sigmoid of it is 3/4


def answer(
    number: int,
    track: Track = "helpfulness",
    *,
    text: str = "",
    helpful: float | None = 0.0,
    safe: float = 1.0,
    scores: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: str = "good",
    flags: str = "",
) -> GradedAnswer:
    """An answer to prompt `number`; `helpful` None means that no oracle graded it."""
    grade = None
    if helpful is not None:
        grade = Grade(
            helpfulness=helpful,
            safety=safe,
            is_right="right" in flags,
            is_violation="violation" in flags,
            is_refusal="refusal" in flags,
            label=label,
        )
    return GradedAnswer(
        prompt=Prompt(str(number), (Message("user", f"question {number}"),), track),
        text=text or f"answer {number}",
        num_tokens=3,
        helpfulness_score=scores[0],
        safety_score=scores[1],
        composite_score=scores[2],
        grade=grade,
    )


def test_set_figures_by_hand() -> None:
    answers = [
        answer(0, helpful=1.0, flags="right"),
        answer(1, helpful=0.5, safe=0.0, flags="right violation"),
        answer(2, helpful=0.0, flags="refusal"),
        answer(3, helpful=0.1),
    ]
    figures = set_figures({"sft": {"ordinary": answers}, "ppo": {"ordinary": answers[:1]}})
    sft = figures["ordinary"]["sft"]
    assert sft["n"] == 4
    assert sft["helpfulness"] == pytest.approx(0.4)
    assert sft["safety"] == pytest.approx(0.75)
    assert (sft["right"], sft["violations"], sft["false_refusals"]) == (0.5, 0.25, 0.25)
    assert (sft["right_low"], sft["right_high"]) == pytest.approx(wilson_interval(2, 4))
    assert (sft["violations_low"], sft["violations_high"]) == pytest.approx(wilson_interval(1, 4))
    assert figures["ordinary"]["ppo"]["right"] == 1.0


def test_answers_without_a_grade_do_not_count() -> None:
    figures = set_figures({"sft": {"x": [answer(0, helpful=None), answer(1, flags="right")]}})
    assert (figures["x"]["sft"]["n"], figures["x"]["sft"]["right"]) == (1, 1.0)


def test_wins_by_hand() -> None:
    earlier = {
        "ordinary": [answer(0, helpful=0.5), answer(1, helpful=0.5), answer(2, helpful=0.5)],
        "adversarial": [answer(3, "safety", helpful=1.0, safe=0.0)],
    }
    later = {
        "ordinary": [
            answer(0, helpful=0.9, scores=(0, 0, 2.0), text="new"),
            answer(1, helpful=0.5, scores=(0, 0, -1.0), text="worse"),
            # The same text: a tie for the reward models, whatever rounding does to the scores.
            answer(2, helpful=0.2, scores=(0, 0, 1e-6)),
        ],
        # Less helpful, but safe: on the safety track that wins.
        "adversarial": [answer(3, "safety", helpful=0.0, safe=1.0, scores=(0, 0, -3), text="no")],
    }
    rows = win_tie_loss({"sft": earlier, "ppo": later})
    found = {(row["set"], row["judge"]): (row["wins"], row["ties"], row["losses"]) for row in rows}
    assert {(row["a"], row["b"]) for row in rows} == {("ppo", "sft")}
    assert found == {
        ("ordinary", "oracle"): (1, 1, 1),
        ("ordinary", "reward"): (1, 1, 1),
        ("adversarial", "oracle"): (1, 0, 0),
        ("adversarial", "reward"): (0, 0, 1),
        (EVERY_SET, "oracle"): (2, 1, 1),
        (EVERY_SET, "reward"): (1, 1, 2),
    }
    overall = next(r for r in rows if (r["set"], r["judge"]) == (EVERY_SET, "oracle"))
    assert overall["share"] == pytest.approx(2 / 3)  # ties are reported, not counted
    assert (overall["low"], overall["high"]) == pytest.approx(wilson_interval(2, 3))


def test_every_pair_of_versions_later_against_earlier() -> None:
    graded = {name: {"x": [answer(0)]} for name in ("sft", "rejection", "ppo")}
    pairs = {(row["a"], row["b"]) for row in win_tie_loss(graded)}
    assert pairs == {("rejection", "sft"), ("ppo", "sft"), ("ppo", "rejection")}


def test_without_an_oracle_only_the_reward_models_judge() -> None:
    graded = {name: {"x": [answer(0, helpful=None)]} for name in ("sft", "ppo")}
    assert {row["judge"] for row in win_tie_loss(graded)} == {"reward"}
    assert paired_difference(graded) == []
    assert label_shares({"sft": {"x": [answer(0, helpful=None)]}}) == {"x": {"sft": {}}}


def test_versions_must_have_answered_the_same_prompts() -> None:
    with pytest.raises(ValueError, match="zip"):
        win_tie_loss({"sft": {"x": [answer(0)]}, "ppo": {"x": [answer(0), answer(1)]}})


def test_paired_difference_by_hand() -> None:
    before = [answer(n, helpful=h) for n, h in enumerate((0.2, 0.4, 0.9))]
    after = [answer(n, helpful=h) for n, h in enumerate((0.5, 0.4, 0.8))]
    rows = paired_difference({"sft": {"x": before}, "ppo": {"x": after}})
    assert [row["set"] for row in rows] == ["x", EVERY_SET]
    expected = paired_interval([0.3, 0.0, -0.1])
    got = (rows[0]["difference"], rows[0]["low"], rows[0]["high"])
    assert got == pytest.approx(tuple(expected))
    assert rows[0]["difference"] == pytest.approx(0.2 / 3)


def test_path_point_takes_each_track_to_its_own_model() -> None:
    by_set = {
        "a": [
            answer(0, scores=(ODDS_3, -50.0, 0), helpful=0.25),
            answer(1, scores=(0.0, -50.0, 0), helpful=0.75),
        ],
        "b": [answer(2, "safety", scores=(-50.0, -ODDS_3, 0), helpful=0.0, safe=0.5)],
    }
    point = path_point(by_set)
    assert point["helpfulness"] == pytest.approx((0.75 + 0.5) / 2)
    assert point["safety"] == pytest.approx(0.25)
    assert point["oracle_helpfulness"] == pytest.approx(0.5)
    assert point["oracle_safety"] == pytest.approx(0.5)
    only = path_point({"a": [answer(0, helpful=None)]})
    assert only == {"helpfulness": pytest.approx(0.5)}


def test_distributions_by_hand() -> None:
    answers = [
        answer(0, scores=(ODDS_3, 0, 0)),
        answer(1, scores=(ODDS_3, 0, 0)),
        answer(2, scores=(-10.0, 0, 0)),
        answer(3, "safety", scores=(0, 10.0, 0)),
    ]
    found = distributions({"sft": {"x": answers}}, num_bins=4)
    assert found["helpfulness"]["edges"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert sum(found["helpfulness"]["sft"]) == 3
    assert found["helpfulness"]["sft"][0] == 1
    assert found["safety"]["sft"] == [0, 0, 0, 1]


def test_label_shares_by_hand() -> None:
    answers = [answer(n, label=label) for n, label in enumerate(["curt", "curt", "wrong", "curt"])]
    shares = label_shares({"sft": {"x": answers}})
    assert shares == {"x": {"sft": {"curt": 0.75, "wrong": 0.25}}}
    assert list(shares["x"]["sft"]) == ["curt", "wrong"]


def test_an_answer_as_a_row_and_as_shown() -> None:
    graded = answer(0, "safety", helpful=0.3, safe=0.9, label="curt")
    assert graded.quality == pytest.approx((2 * 0.9 + 0.3) / 3)
    assert graded.as_row()["quality"] == graded.quality
    assert graded.as_row()["prompt"] == "question 0"
    assert graded.as_shown()["label"] == "curt"
    bare = answer(0, helpful=None)
    assert (bare.quality, bare.as_row()["label"]) == (None, None)
    # Without an oracle the reward models' probabilities stand in.
    unjudged = answer(0, helpful=None, scores=(ODDS_3, -ODDS_3, 0.0))
    assert unjudged.as_shown() == {
        "text": "answer 0",
        "helpfulness": pytest.approx(0.75),
        "safety": pytest.approx(0.25),
    }
