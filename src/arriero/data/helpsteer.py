"""Rows of HelpSteer3's preferences: two responses to a dialog and a strength from -3 to 3.

A negative strength prefers the first response, and its size is the rating: 3 significantly better,
2 better, 1 slightly better. 0 says that both are about the same. The paper's annotators had to
choose even when unsure, so where the single votes lean to one side it is chosen as negligibly
better; where they do not, there is no choice to learn and the row is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arriero.data.dialogs import clean_answer, to_messages
from arriero.data.rows import Skip
from arriero.data.tags import RATING_BY_STRENGTH
from arriero.records import Preference

STRONGEST = 3


def helpsteer_preferences(value: dict[str, Any]) -> Iterator[Preference | Skip]:
    """Yield the preference of one row, without its source and track.

    Raises:
        ValueError: a strength outside -3 to 3, or texts of another shape.
    """
    prompt = tuple(to_messages(value["context"]))
    first, second = (clean_answer(value[key], key) for key in ("response1", "response2"))
    strength = _strength(value["overall_preference"], "overall_preference")
    rating = RATING_BY_STRENGTH[abs(strength)]
    leaning = strength or _leaning(value.get("individual_preference"))
    if leaning == 0:
        yield Skip("neither answer is preferred")
    elif leaning < 0:
        yield Preference(prompt, first, second, rating)
    else:
        yield Preference(prompt, second, first, rating)


def _leaning(votes: Any) -> int:
    """The sum of the single annotators' strengths; 0 where there are none."""
    if votes is None:
        return 0
    if not isinstance(votes, list) or not all(isinstance(vote, dict) for vote in votes):
        raise ValueError("'individual_preference' should be a list of scores; mend the row")
    return sum(_strength(vote.get("score"), "individual_preference") for vote in votes)


def _strength(value: Any, key: str) -> int:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or value not in range(-STRONGEST, STRONGEST + 1):
        raise ValueError(f"{key!r} is {value!r}; it goes from -3 (the first) to 3 (the second)")
    return int(value)
