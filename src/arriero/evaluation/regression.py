"""A watch over what each version can do: forgetting shows in one capability, not in the mean.

V3 of the paper, fed from V2 alone, had forgotten how to rhyme while its scores rose (section
3.2.3). So answers are counted by the category of their prompt, version by version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from arriero.equations.agreement import rank_correlation
from arriero.equations.calibration import sigmoid
from arriero.equations.intervals import paired_interval
from arriero.evaluation.graded import GradedAnswer

Answers = Mapping[str, Mapping[str, Sequence[GradedAnswer]]]

LEAST_PROMPTS = 10
"""Of a category with fewer prompts nothing is said."""


def capabilities(graded: Answers) -> dict[str, Any]:
    """What each version does in each category of helpfulness prompts, and what got lost.

    A figure is the share of right answers where an oracle grades, else the mean probability of the
    helpfulness model.

    Args:
        graded: {version: {set: answers}}, from the oldest version to the newest, the answers of a
            set in the same order.

    Returns:
        `measure` (`right` or `reward`); `by_category`: {category: {version: figure}}; `prompts` of
        each category; `losses`: where the mean of a version lies below that of the one before by
        more than the paired 95% interval, with the `difference`, its `low` and `high`.
    """
    values = {version: _by_category(by_set) for version, by_set in graded.items()}
    first = next(iter(values.values()), {})
    categories = [name for name, found in first.items() if len(found) >= LEAST_PROMPTS]
    losses: list[dict[str, Any]] = []
    for earlier, later in pairwise(values):
        for category in categories:
            pairs = zip(values[later][category], values[earlier][category], strict=True)
            difference, low, high = paired_interval([a - b for a, b in pairs])
            if high < 0:
                losses.append(
                    {
                        "category": category,
                        "version": later,
                        "before": earlier,
                        "difference": difference,
                        "low": low,
                        "high": high,
                    }
                )
    has_oracle = any(
        answer.grade is not None
        for by_set in graded.values()
        for answers in by_set.values()
        for answer in answers
    )
    return {
        "measure": "right" if has_oracle else "reward",
        "prompts": {category: len(first[category]) for category in categories},
        "by_category": {
            category: {
                version: sum(found[category]) / len(found[category])
                for version, found in values.items()
            }
            for category in categories
        },
        "losses": losses,
    }


def _by_category(by_set: Mapping[str, Sequence[GradedAnswer]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, answers in by_set.items():
        for answer in answers:
            if answer.prompt.track == "helpfulness":
                # The same words may name a category of another set.
                found.setdefault(answer.prompt.category or name, []).append(_value(answer))
    return dict(sorted(found.items()))


def _value(answer: GradedAnswer) -> float:
    if answer.grade is not None:
        return float(answer.grade.is_right)
    return sigmoid(answer.helpfulness_score)


def moves_together(graded: Answers) -> dict[str, float | None]:
    """Whether reward models and oracle say the same (section 3.4.1).

    Returns:
        Spearman's rank correlation of the composite raw score with the oracle's quality, over all
        answers (`answers`) and over the means of the versions (`versions`); None where that cannot
        be said: no oracle, or nothing that differs.
    """
    by_version = {
        version: [
            (answer.composite_score, answer.quality)
            for answers in by_set.values()
            for answer in answers
            if answer.quality is not None
        ]
        for version, by_set in graded.items()
    }
    pairs = [pair for found in by_version.values() for pair in found]
    means = [
        tuple(sum(column) / len(found) for column in zip(*found, strict=True))
        for found in by_version.values()
        if found
    ]
    return {"answers": _correlation(pairs), "versions": _correlation(means)}


def _correlation(pairs: Sequence[tuple[float, ...]]) -> float | None:
    if len(pairs) < 3:
        return None
    first, second = ([float(value) for value in column] for column in zip(*pairs, strict=True))
    found = rank_correlation(first, second)
    return None if found != found else found
