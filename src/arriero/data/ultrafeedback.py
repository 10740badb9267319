"""Rows of UltraFeedback: several completions of an instruction, each with scores.

Raw rows hold about four completions. Their score is the mean of the ratings by aspect, from 1 to 5;
where no two completions have ratings, it is their `fine-grained_score` (the same scale), or else
their `overall_score` (to 10). Every two completions of different scores are a pair. Binarized rows
name `score_chosen` and `score_rejected`, to 10, beside the two sides.

The gap of two scores is the rating, on the scale to 10, to which scores to 5 count double: from 4
significantly better, from 2 better, from 1 slightly better, above 0 negligibly better. Completions
were sampled under different system prompts; these are left out, so that a pair shares its prompt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from arriero.data.dialogs import clean_answer
from arriero.data.rows import Skip
from arriero.records import Message, Preference, Rating

RATING_BY_GAP = (
    (4.0, Rating.SIGNIFICANTLY_BETTER),
    (2.0, Rating.BETTER),
    (1.0, Rating.SLIGHTLY_BETTER),
)
BEST = 10.0

SAME_SCORE = "the two answers have the same score"


def ultrafeedback_preferences(value: dict[str, Any]) -> Iterator[Preference | Skip]:
    """Yield every pair of completions of a raw row, without its source and track.

    Raises:
        ValueError: a score outside its scale, or texts of another shape.
    """
    if not isinstance(value["instruction"], str):
        raise ValueError("'instruction' should be a string; mend or remove the row")
    completions = value["completions"]
    if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
        raise ValueError("'completions' should be a list of objects; mend or remove the row")
    scored = _scored(completions)
    if left_out := len(completions) - len(scored):
        yield Skip("a completion without a score", left_out)
    prompt = (Message("user", value["instruction"]),)
    for (first, first_score), (second, second_score) in combinations(scored, 2):
        rating = rating_of_gap(abs(first_score - second_score))
        if rating is None:
            yield Skip(SAME_SCORE)
        elif first_score > second_score:
            yield Preference(prompt, first, second, rating)
        else:
            yield Preference(prompt, second, first, rating)


def rating_of_scores(value: dict[str, Any]) -> Rating | Skip | None:
    """The rating of a binarized row; None without scores, Skip where they are the same.

    Raises:
        ValueError: a score outside its scale, one without the other, or sides that are swapped.
    """
    chosen, rejected = (
        _number(value.get(f"score_{side}"), BEST) for side in ("chosen", "rejected")
    )
    if chosen is None and rejected is None:
        return None
    if chosen is None or rejected is None:
        raise ValueError("'score_chosen' or 'score_rejected' is missing; mend or remove the row")
    if chosen < rejected:
        raise ValueError(
            f"'score_chosen' is {chosen:g}, 'score_rejected' {rejected:g}: the sides are swapped; "
            "mend or remove the row"
        )
    return rating_of_gap(chosen - rejected) or Skip(SAME_SCORE)


def rating_of_gap(gap: float) -> Rating | None:
    """The rating of a gap between two scores of a scale to 10; None where there is none.

    >>> rating_of_gap(2.5)
    <Rating.BETTER: 'better'>
    """
    if gap <= 0:
        return None
    reached = (rating for least, rating in RATING_BY_GAP if gap >= least)
    return next(reached, Rating.NEGLIGIBLY_BETTER)


def _scored(completions: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """The completions with their scores to 10, by the first measure that two of them have."""
    found: list[tuple[str, float]] = []
    for measure in _MEASURES:
        scores = [measure(completion) for completion in completions]
        found = [
            (clean_answer(completion.get("response"), "response"), score)
            for completion, score in zip(completions, scores, strict=True)
            if score is not None
        ]
        if len(found) > 1:
            break
    return found


def _mean_rating(completion: dict[str, Any]) -> float | None:
    """Twice the mean of the aspects' ratings, which go to 5; aspects without one are left out."""
    annotations = completion.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise ValueError("'annotations' should be an object; mend or remove the row")
    given = [aspect.get("Rating") for aspect in annotations.values() if isinstance(aspect, dict)]
    ratings = [rating for each in given if (rating := _number(each, BEST / 2)) is not None]
    return 2 * sum(ratings) / len(ratings) if ratings else None


def _fine_grained(completion: dict[str, Any]) -> float | None:
    score = _number(completion.get("fine-grained_score"), BEST / 2)
    return None if score is None else 2 * score


def _overall(completion: dict[str, Any]) -> float | None:
    return _number(completion.get("overall_score"), BEST)


_MEASURES: tuple[Callable[[dict[str, Any]], float | None], ...] = (
    _mean_rating,
    _fine_grained,
    _overall,
)


def _number(value: Any, best: float) -> float | None:
    """A score, which may be written as text; None where a row has none ("N/A", NaN)."""
    if value is None or value == "N/A":
        return None
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the score {value!r} is no number; mend or remove the row") from None
    if math.isnan(score) and isinstance(value, float):
        return None
    if not 0 <= score <= best:
        raise ValueError(f"the score {value!r} is outside 0 to {best:g}; mend or remove the row")
    return score
