"""hh-rlhf with strengths: transcripts or lists of turns beside a number."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.data.strengths import rating_of_strength
from arriero.records import Message, Rating, UserError

TURNS = ["Who walks?", "A mule.", "Where?"]
PROMPT = tuple(Message(("user", "assistant")[n % 2], text) for n, text in enumerate(TURNS))


def row(difference: Any, **more: Any) -> dict[str, Any]:
    """A row of the published schema."""
    return {
        "chosen": [*TURNS, "Over the pass."],
        "rejected": [*TURNS, "No."],
        "mean preference difference": difference,
        "std preference difference": 0.4,
        "chosen score list": [1.0, 2.0],
        "rejected score list": [0.5, 0.5],
        **more,
    }


def spoken(*texts: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[n % 2]}: {text}" for n, text in enumerate(texts))


@pytest.mark.parametrize(
    ("difference", "rating"),
    [
        (7.2, Rating.SIGNIFICANTLY_BETTER),
        (3, Rating.SIGNIFICANTLY_BETTER),
        (2.999, Rating.BETTER),
        (1.0, Rating.SLIGHTLY_BETTER),
        (0.99, Rating.NEGLIGIBLY_BETTER),
        (-4.0, Rating.NEGLIGIBLY_BETTER),
        (None, None),
    ],
)
def test_a_difference_of_scores_is_on_the_scale_of_the_large_margin(
    difference: float | None, rating: Rating | None
) -> None:
    assert rating_of_strength(difference) is rating


def test_lists_of_turns(write_rows) -> None:
    tagged = [f"{('Human', 'Assistant')[n % 2]}: {text}" for n, text in enumerate(TURNS)]
    rows = [
        row(1.5),
        row(-0.5),
        {
            "chosen": [*tagged, "Assistant: Over the pass."],
            "rejected": [*tagged, "Assistant: No."],
        },
    ]
    pairs = list(read_preferences(write_rows("a.jsonl", rows)))
    for pair in pairs:
        assert (pair.prompt, pair.chosen, pair.rejected) == (PROMPT, "Over the pass.", "No.")
    assert [pair.rating for pair in pairs] == [
        Rating.SLIGHTLY_BETTER,
        Rating.NEGLIGIBLY_BETTER,
        None,
    ]


@pytest.mark.parametrize(
    "tag",
    [
        {"strength": 2},
        {"rating": "better"},
        {"rating": 2},
        {"rating": None, "strength": 2},
        {"rating": 2, "strength": 0},
    ],
)
def test_a_strength_beside_transcripts(write_rows, tag: dict[str, Any]) -> None:
    whole = {"chosen": spoken(*TURNS, "Yes."), "rejected": spoken(*TURNS, "No."), **tag}
    (pair,) = read_preferences(write_rows("a.jsonl", [whole]))
    assert (pair.rating, pair.prompt) == (Rating.BETTER, PROMPT)


def test_a_history_that_was_cut_is_counted(write_rows) -> None:
    cut = {"chosen": [*TURNS[1:], "Yes."], "rejected": [*TURNS[1:], "No."]}
    skipped: Counter[str] = Counter()
    path = write_rows("a.jsonl", [cut, row(2.0)])
    assert len(list(read_preferences(path, skipped=skipped))) == 1
    assert skipped == {"turns out of order or empty": 1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row("strong"), "'mean preference difference' should be a number, not 'strong'"),
        (row(True), "'mean preference difference' should be a number, not True"),
        (row(2.0, strength=-2), "the rating -2 is negative, as of swapped sides"),
        (row(2.0, rating=4), "the rating 4 is unknown"),
    ],
)
def test_strengths_outside_the_scale(write_rows, wrong: dict[str, Any], message: str) -> None:
    path = write_rows("a.jsonl", [row(1.0), wrong])
    with pytest.raises(UserError) as caught:
        list(read_preferences(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")
