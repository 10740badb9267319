"""UltraFeedback, raw and binarized: gaps of scores become ratings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.data.ultrafeedback import rating_of_gap
from arriero.records import Rating, UserError

SIGNIFICANTLY, BETTER, SLIGHTLY, NEGLIGIBLY = Rating

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def completion(text: str, ratings: list[Any] | None = None, **scores: Any) -> dict[str, Any]:
    """A completion of the published schema."""
    notes = {
        a: {"Rating": r, "Rationale": ""} for a, r in zip(ASPECTS, ratings or [], strict=False)
    }
    return {
        "model": "a",
        "principle": "helpfulness",
        "custom_system_prompt": f"Speak as {text} would.",
        "response": text,
        "annotations": notes,
        **scores,
    }


def row(*completions: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": "own",
        "instruction": "Who carries the salt?",
        "models": ["a"] * len(completions),
        "completions": list(completions),
        "correct_answers": ["None"],
    }


@pytest.mark.parametrize(
    ("gap", "rating"),
    [
        (9, SIGNIFICANTLY),
        (4, SIGNIFICANTLY),
        (3.5, BETTER),
        (2, BETTER),
        (1.5, SLIGHTLY),
        (1, SLIGHTLY),
        (0.5, NEGLIGIBLY),
        (0, None),
    ],
)
def test_thresholds(gap: float, rating: Rating | None) -> None:
    assert rating_of_gap(gap) is rating


def test_every_two_completions_of_different_scores_are_a_pair(write_rows) -> None:
    """Means of the ratings 4.75, 4.75, 3.5 and 2 are 9.5, 9.5, 7 and 4 of 10."""
    path = write_rows(
        "a.jsonl",
        [
            row(
                completion("one", ["5", "5", "4", "5"]),
                completion("two", ["5", "4", "5", "5"], overall_score=1.0),
                completion("three", ["3", "N/A", "4", "N/A"]),
                completion("four", ["2", "2", "2", "2"], overall_score=10.0),
            )
        ],
    )
    skipped: Counter[str] = Counter()
    pairs = list(read_preferences(path, skipped=skipped))
    assert [(pair.chosen, pair.rejected, pair.rating) for pair in pairs] == [
        ("one", "three", BETTER),
        ("one", "four", SIGNIFICANTLY),
        ("two", "three", BETTER),
        ("two", "four", SIGNIFICANTLY),
        ("three", "four", BETTER),
    ]
    assert skipped == {"the two answers have the same score": 1}
    assert {pair.source for pair in pairs} == {"own"}
    assert len({pair.prompt for pair in pairs}) == 1


@pytest.mark.parametrize(
    ("scores", "rating"),
    [
        ([{"fine-grained_score": 4.25}, {"fine-grained_score": 3.5}], SLIGHTLY),
        ([{"overall_score": 8.5}, {"overall_score": 8.0}], NEGLIGIBLY),
        # The better measure wins where both completions have it, in the other direction too.
        (
            [
                {"overall_score": 1.0, "fine-grained_score": 5.0},
                {"overall_score": 9.0, "fine-grained_score": 2.0},
            ],
            SIGNIFICANTLY,
        ),
        # Only one has ratings: no two can be compared by them.
        ([{"ratings": ["1"], "overall_score": 7.0}, {"overall_score": 5.0}], BETTER),
    ],
)
def test_scores_stand_in_where_there_are_no_ratings(
    write_rows, scores: list[dict[str, Any]], rating: Rating
) -> None:
    made = [completion(name, **score) for name, score in zip(("one", "two"), scores, strict=True)]
    (pair,) = read_preferences(write_rows("a.jsonl", [row(*made)]))
    assert (pair.chosen, pair.rejected, pair.rating) == ("one", "two", rating)


def test_completions_without_a_score_are_counted(write_rows) -> None:
    made = [completion("one", ["5"]), completion("two", ["1"]), completion("three", ["N/A"])]
    path = write_rows("a.jsonl", [row(*made, completion("four", overall_score=3.0))])
    skipped: Counter[str] = Counter()
    assert len(list(read_preferences(path, skipped=skipped))) == 1
    assert skipped == {"a completion without a score": 2}


def binarized(chosen: Any, rejected: Any) -> dict[str, Any]:
    """A row of the published schema."""
    question = {"role": "user", "content": "Who carries the salt?"}
    sides = {
        side: [question, {"role": "assistant", "content": text}]
        for side, text in (("chosen", "The mule."), ("rejected", "Salt."))
    }
    return {
        "prompt": question["content"],
        "prompt_id": "f0",
        **sides,
        "messages": sides["chosen"],
        "score_chosen": chosen,
        "score_rejected": rejected,
    }


def test_binarized_rows(write_rows) -> None:
    rows = [binarized(8.5, 4.5), binarized(8, 7.5), binarized(7, 7), binarized(None, None)]
    skipped: Counter[str] = Counter()
    pairs = list(read_preferences(write_rows("a.jsonl", rows), skipped=skipped))
    assert [pair.rating for pair in pairs] == [SIGNIFICANTLY, NEGLIGIBLY, None]
    assert {(pair.chosen, pair.rejected, pair.prompt_id) for pair in pairs} == {
        ("The mule.", "Salt.", "f0")
    }
    assert skipped == {"the two answers have the same score": 1}


def test_a_rating_of_its_own_counts_more_than_the_scores(write_rows) -> None:
    rows = [
        {**binarized(8.5, 1), "rating": "slightly better"},
        {**binarized(7, 7), "rating": "slightly better"},
        {**binarized(8.5, 1), "rating": None, "strength": 1},
    ]
    pairs = list(read_preferences(write_rows("a.jsonl", rows)))
    assert [pair.rating for pair in pairs] == [SLIGHTLY] * 3


WRONG: list[tuple[dict[str, Any], str]] = [
    (binarized(3, 7), "'score_chosen' is 3, 'score_rejected' 7: the sides are swapped"),
    ({**binarized(3, 7), "rating": "better"}, "'score_chosen' is 3, 'score_rejected' 7: the sides"),
    ({**binarized(3, 7), "strength": 2}, "'score_chosen' is 3, 'score_rejected' 7: the sides"),
    ({**binarized(11, 7), "rating": 2}, "the score 11 is outside 0 to 10"),
    (binarized(11, 7), "the score 11 is outside 0 to 10"),
    (binarized(8, None), "'score_chosen' or 'score_rejected' is missing"),
    (binarized("high", 1), "the score 'high' is no number"),
    (row(completion("a", ["6"]), completion("b", ["1"])), "the score '6' is outside 0 to 5"),
    ({**row(), "completions": "one"}, "'completions' should be a list of objects"),
    ({**row(), "instruction": None}, "'instruction' should be a string"),
    (row(completion("a", ["5"]), {"annotations": 3, "response": "b"}), "'annotations' should be"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_rows_are_named(write_rows, wrong: Any, message: str) -> None:
    path = write_rows("a.jsonl", [binarized(8, 4), wrong])
    with pytest.raises(UserError) as caught:
        list(read_preferences(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")
