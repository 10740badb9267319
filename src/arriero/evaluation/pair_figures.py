"""What scorers make of pairs: accuracy by every kind of pair, agreement, calibration.

A tie counts one half. A scorer's figures are over the pairs it has scored, and comparisons of two
scorers over those that both have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from arriero.equations.agreement import agreement_share, cohen_kappa
from arriero.equations.calibration import expected_calibration_error, reliability_bins, sigmoid
from arriero.equations.intervals import paired_bootstrap, wilson_interval
from arriero.evaluation.folds import opening
from arriero.evaluation.scorers import PairScores
from arriero.records import Preference, Rating

Scored = Mapping[str, Sequence[PairScores | None]]
"""By scorer the scores of the same pairs in the same order."""

_LENGTHS = (16, 64, 256)
_TURNS = 4


def accuracies(
    pairs: Sequence[Preference], scores: Sequence[PairScores | None]
) -> dict[str, dict[str, dict[str, float]]]:
    """One scorer's accuracy with its 95% Wilson interval, by grouping and group.

    Returns:
        `{"all": {"all": {accuracy, low, high, n}}, "rating": {...}, ...}`; groups without pairs
        are left out.
    """
    members: dict[str, dict[str, list[float]]] = {}
    for pair, given in zip(pairs, scores, strict=True):
        if given is not None:
            for grouping, group in groups_of(pair).items():
                members.setdefault(grouping, {}).setdefault(group, []).append(outcome(given))
    order = {grouping: list(names) for grouping, names in _GROUPS.items()}
    return {
        grouping: {
            group: _share(of_grouping[group])
            for group in sorted(of_grouping, key=order[grouping].index)
        }
        for grouping in order
        if (of_grouping := members.get(grouping))
    }


_GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("all",),
    "rating": tuple(rating.value for rating in Rating),
    "safety": ("safe over unsafe", "both safe", "both unsafe", "unsafe over safe"),
    "turns": ("1", "2", "3", f"{_TURNS} or more"),
    "words": (
        f"under {_LENGTHS[0]}",
        *(f"{low} to {high - 1}" for low, high in pairwise(_LENGTHS)),
        f"{_LENGTHS[-1]} or more",
    ),
    "chosen is": ("longer", "as long", "shorter"),
}
"""The groupings and their groups in order: the degree of preference (Table 8), the safety labels
(Table 29), the user's turns, words of the longer answer, and the length of the chosen one beside
the other, which shows a scorer that counts words."""


def groups_of(pair: Preference) -> dict[str, str]:
    """The group of a pair in each grouping that knows it."""
    groups = {"all": "all"}
    if pair.rating is not None:
        groups["rating"] = pair.rating.value
    labels = pair.chosen_is_safe, pair.rejected_is_safe
    if None not in labels:
        both = {(True, False): 0, (True, True): 1, (False, False): 2, (False, True): 3}
        groups["safety"] = _GROUPS["safety"][both[bool(labels[0]), bool(labels[1])]]
    turns = sum(message.role == "user" for message in pair.prompt)
    groups["turns"] = _GROUPS["turns"][min(turns, _TURNS) - 1]
    words = max(len(pair.chosen.split()), len(pair.rejected.split()))
    groups["words"] = _GROUPS["words"][sum(words >= length for length in _LENGTHS)]
    longer = (len(pair.chosen) > len(pair.rejected)) - (len(pair.chosen) < len(pair.rejected))
    groups["chosen is"] = _GROUPS["chosen is"][1 - longer]
    return groups


def outcome(scores: PairScores) -> float:
    """1 if the chosen answer scores higher, 0 if the rejected, 0.5 for a tie."""
    chosen, rejected = scores
    return 0.5 * ((chosen > rejected) + (chosen >= rejected))


def _share(outcomes: Sequence[float]) -> dict[str, float]:
    right, n = math.fsum(outcomes), len(outcomes)
    low, high = wilson_interval(right, n)
    return {"accuracy": right / n, "low": low, "high": high, "n": n}


def comparisons(pairs: Sequence[Preference], scored: Scored) -> list[dict[str, Any]]:
    """Every two scorers on the pairs that both scored.

    Returns:
        `difference` of accuracy, first minus second, with its 95% bootstrap interval over prompts;
        `agreement`, the share of pairs that both order alike; and Cohen's `kappa`, their agreement
        beyond what their accuracies make by chance, None where it is not defined.
    """
    rows: list[dict[str, Any]] = []
    for a, b in combinations(scored, 2):
        both = [
            (outcome(first), outcome(second), opening(pair.prompt))
            for pair, first, second in zip(pairs, scored[a], scored[b], strict=True)
            if first is not None and second is not None
        ]
        if not both:
            continue
        first, second, groups = zip(*both, strict=True)
        differences = [x - y for x, y in zip(first, second, strict=True)]
        estimate = paired_bootstrap(differences, groups)
        kappa = cohen_kappa(first, second)
        rows.append(
            {
                "a": a,
                "b": b,
                "n": len(both),
                "difference": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "agreement": agreement_share(first, second),
                "kappa": None if math.isnan(kappa) else kappa,
            }
        )
    return rows


def pair_calibration(scores: Sequence[PairScores | None]) -> dict[str, Any]:
    """Whether a scorer is as often right as the sigmoid of its difference says (Eq. 1).

    The confidence in the answer it prefers, sigmoid(|difference|), stands against how often people
    preferred that answer.
    """
    known = [given for given in scores if given is not None]
    confidences = [sigmoid(abs(chosen - rejected)) for chosen, rejected in known]
    bins = reliability_bins(confidences, [outcome(given) for given in known], low=0.5)
    return {
        "ece": expected_calibration_error(bins),
        "n": len(known),
        "bins": [each._asdict() for each in bins],
    }
