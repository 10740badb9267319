"""HelpSteer3's preferences: which response is chosen, and how clearly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.records import Message, Rating, UserError

CONTEXT = [
    {"role": "user", "content": "Who carries the salt?"},
    {"role": "assistant", "content": "The mule."},
    {"role": "user", "content": "Over which pass?"},
]


def row(overall: Any, votes: list[int] | None = None) -> dict[str, Any]:
    """A row of the published schema."""
    individual = [{"score": vote, "reasoning": "", "feedback1": ""} for vote in votes or []]
    return {
        "domain": "general",
        "language": "english",
        "context": CONTEXT,
        "response1": "The high one.",
        "response2": "I do not know.",
        "overall_preference": overall,
        "individual_preference": individual,
    }


BY_STRENGTH = [
    (-3, "The high one.", Rating.SIGNIFICANTLY_BETTER),
    (-2, "The high one.", Rating.BETTER),
    (-1, "The high one.", Rating.SLIGHTLY_BETTER),
    (1, "I do not know.", Rating.SLIGHTLY_BETTER),
    (2, "I do not know.", Rating.BETTER),
    (3.0, "I do not know.", Rating.SIGNIFICANTLY_BETTER),
]


@pytest.mark.parametrize(("strength", "chosen", "rating"), BY_STRENGTH)
def test_sign_and_size_of_the_strength(
    write_rows, strength: float, chosen: str, rating: Rating
) -> None:
    (pair,) = read_preferences(write_rows("set/train.jsonl", [row(strength, [-1, 1])]))
    assert pair.chosen == chosen
    assert {pair.chosen, pair.rejected} == {"The high one.", "I do not know."}
    assert pair.rating is rating
    assert pair.prompt == (
        Message("user", "Who carries the salt?"),
        Message("assistant", "The mule."),
        Message("user", "Over which pass?"),
    )
    assert (pair.source, pair.track, pair.chosen_is_safe) == ("set/train", "helpfulness", None)


def test_about_the_same_is_decided_by_the_single_votes(write_rows) -> None:
    """-1, -1, 1 lean to the first, 1, 0 to the second; -1, 1 and no votes to neither."""
    rows = [row(0, [-1, -1, 1]), row(0, [1, 0]), row(0, [-1, 1]), row(0)]
    del rows[3]["individual_preference"]
    skipped: Counter[str] = Counter()
    pairs = list(read_preferences(write_rows("a.jsonl", rows), skipped=skipped))
    assert [(pair.chosen, pair.rating) for pair in pairs] == [
        ("The high one.", Rating.NEGLIGIBLY_BETTER),
        ("I do not know.", Rating.NEGLIGIBLY_BETTER),
    ]
    assert skipped == {"neither answer is preferred": 2}


WRONG: list[tuple[dict[str, Any], str]] = [
    (row(4), "'overall_preference' is 4; it goes from -3"),
    (row(1.5), "'overall_preference' is 1.5"),
    (row(True), "'overall_preference' is True"),
    (row("2"), "'overall_preference' is '2'"),
    (row(0, [7]), "'individual_preference' is 7"),
    ({**row(1), "response1": None}, "'response1' should be a string"),
    ({**row(1), "context": "Who?"}, "a dialog is a list of messages"),
    ({**row(1), "context": CONTEXT[:2]}, "a prompt ends with a user message"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_what_is_outside_the_scale_is_named(write_rows, wrong: Any, message: str) -> None:
    path = write_rows("a.jsonl", [row(1), wrong])
    with pytest.raises(UserError) as caught:
        list(read_preferences(path))
    assert str(caught.value).startswith(f"{path}:2: {message}")
