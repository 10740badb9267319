"""Figures over graded answers: shares with intervals, win rates, the path of the versions.

Everything takes `{version: {set: answers}}`, the answers of a set in the same order for every
version, so that comparisons are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from arriero.equations.calibration import sigmoid
from arriero.equations.intervals import paired_interval, wilson_interval, win_rate
from arriero.evaluation.graded import GradedAnswer
from arriero.records import Grade

Answers = Mapping[str, Mapping[str, Sequence[GradedAnswer]]]

EVERY_SET = "all"


def set_figures(graded: Answers) -> dict[str, dict[str, dict[str, float]]]:
    """By set and version what the oracle says: right answers, violations, refusals."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for version, by_set in graded.items():
        for name, answers in by_set.items():
            grades = [answer.grade for answer in answers if answer.grade is not None]
            figures.setdefault(name, {})[version] = _figures(grades)
    return figures


def _figures(grades: Sequence[Grade]) -> dict[str, float]:
    count = len(grades)
    figures: dict[str, float] = {
        "n": count,
        "helpfulness": sum(grade.helpfulness for grade in grades) / max(1, count),
        "safety": sum(grade.safety for grade in grades) / max(1, count),
    }
    shares = {
        "right": sum(grade.is_right for grade in grades),
        "violations": sum(grade.is_violation for grade in grades),
        "false_refusals": sum(grade.is_refusal for grade in grades),
    }
    for name, successes in shares.items():
        low, high = wilson_interval(successes, count)
        figures |= {
            name: successes / max(1, count),
            f"{name}_low": low,
            f"{name}_high": high,
        }
    return figures


def compared_versions(versions: Sequence[str], baseline: str = "") -> list[tuple[str, str]]:
    """Which are compared, as (earlier, later): each with the one before it and with one baseline.

    Args:
        versions: from the oldest to the newest.
        baseline: what all later ones are held against; the oldest if left out.

    >>> compared_versions(["sft-v1", "sft-v2", "rlhf-v1", "rlhf-v2"], "sft-v2")
    [('sft-v1', 'sft-v2'), ('sft-v2', 'rlhf-v1'), ('sft-v2', 'rlhf-v2'), ('rlhf-v1', 'rlhf-v2')]
    """
    place = {version: number for number, version in enumerate(versions)}
    return [
        (earlier, later)
        for earlier, later in combinations(versions, 2)
        if place[later] == place[earlier] + 1 or earlier == (baseline or versions[0])
    ]


def win_tie_loss(graded: Answers, baseline: str = "") -> list[dict[str, Any]]:
    """Each version against the one before and the baseline, by set, by oracle and reward models.

    By the oracle two answers tie if their quality is equal; by the reward models if they are the
    same text.
    """
    rows: list[dict[str, Any]] = []
    for earlier, later in compared_versions(list(graded), baseline):
        for name, pairs in _paired(graded, later, earlier).items():
            by_judge = {
                "oracle": [
                    a.quality - b.quality
                    for a, b in pairs
                    if a.quality is not None and b.quality is not None
                ],
                "reward": [
                    0.0 if a.text == b.text else a.composite_score - b.composite_score
                    for a, b in pairs
                ],
            }
            for judge, differences in by_judge.items():
                if differences:
                    rows.append(outcome(later, earlier, name, judge, differences))
    return rows


def outcome(
    later: str, earlier: str, set_name: str, judge: str, differences: Sequence[float]
) -> dict[str, Any]:
    """Wins, ties and losses of the later version, with its share and interval.

    Args:
        differences: one a pair, above 0 where the later version's answer is the better one.
    """
    wins = sum(difference > 1e-9 for difference in differences)
    losses = sum(difference < -1e-9 for difference in differences)
    ties = len(differences) - wins - losses
    share, low, high = win_rate(wins, ties, losses)
    return {
        "a": later,
        "b": earlier,
        "set": set_name,
        "judge": judge,
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "share": share,
        "low": low,
        "high": high,
    }


def paired_difference(graded: Answers, baseline: str = "") -> list[dict[str, Any]]:
    """Mean difference of the oracle's quality, later minus earlier, with its paired interval."""
    return _differences(graded, baseline, lambda answer: answer.quality)


def paired_rewards(graded: Answers, baseline: str = "") -> list[dict[str, Any]]:
    """Mean difference of the composite raw score, later minus earlier, with its paired interval.

    All versions are scored by the same reward models: whether a version is worse than the one
    before is seen in their scores first.
    """
    return _differences(graded, baseline, lambda answer: answer.composite_score)


def _differences(
    graded: Answers, baseline: str, value: Callable[[GradedAnswer], float | None]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for earlier, later in compared_versions(list(graded), baseline):
        for name, pairs in _paired(graded, later, earlier).items():
            values = [(value(a), value(b)) for a, b in pairs]
            differences = [a - b for a, b in values if a is not None and b is not None]
            if len(differences) < 2:
                continue
            mean, low, high = paired_interval(differences)
            rows.append(
                {
                    "a": later,
                    "b": earlier,
                    "set": name,
                    "difference": mean,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def _paired(
    graded: Answers, later: str, earlier: str
) -> dict[str, list[tuple[GradedAnswer, GradedAnswer]]]:
    """Answers of two versions to the same prompts, by set and all together."""
    by_set = {
        name: list(zip(answers, graded[earlier][name], strict=True))
        for name, answers in graded[later].items()
    }
    return {**by_set, EVERY_SET: [pair for pairs in by_set.values() for pair in pairs]}


def path_point(by_set: Mapping[str, Sequence[GradedAnswer]]) -> dict[str, float]:
    """Where a version stands on the two axes of Figure 11.

    Helpfulness is the mean probability of the helpfulness model over prompts of that track,
    safety that of the safety model over safety prompts; the oracle's means stand beside them.
    """
    answers = [answer for members in by_set.values() for answer in members]
    helpful = [answer for answer in answers if answer.prompt.track == "helpfulness"]
    safe = [answer for answer in answers if answer.prompt.track == "safety"]
    point: dict[str, float] = {}
    if helpful:
        point["helpfulness"] = _mean([sigmoid(answer.helpfulness_score) for answer in helpful])
        graded = [answer.grade.helpfulness for answer in helpful if answer.grade is not None]
        if graded:
            point["oracle_helpfulness"] = _mean(graded)
    if safe:
        point["safety"] = _mean([sigmoid(answer.safety_score) for answer in safe])
        graded = [answer.grade.safety for answer in safe if answer.grade is not None]
        if graded:
            point["oracle_safety"] = _mean(graded)
    return point


def distributions(graded: Answers, num_bins: int = 30) -> dict[str, dict[str, list[float]]]:
    """Histograms of reward-model probabilities by version (Figure 20)."""
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    result: dict[str, dict[str, list[float]]] = {}
    for track in ("helpfulness", "safety"):
        result[track] = {"edges": edges.tolist()}
        for version, by_set in graded.items():
            values = [
                sigmoid(a.helpfulness_score if track == "helpfulness" else a.safety_score)
                for answers in by_set.values()
                for a in answers
                if a.prompt.track == track
            ]
            result[track][version] = np.histogram(values, edges)[0].tolist()
    return result


def label_shares(graded: Answers) -> dict[str, dict[str, dict[str, float]]]:
    """By set and version the share of each of the oracle's labels."""
    shares: dict[str, dict[str, dict[str, float]]] = {}
    for version, by_set in graded.items():
        for name, answers in by_set.items():
            labels = Counter(answer.grade.label for answer in answers if answer.grade is not None)
            shares.setdefault(name, {})[version] = {
                label: count / labels.total() for label, count in labels.most_common()
            }
    return shares


def manner(graded: Answers) -> dict[str, dict[str, float]]:
    """By version: mean `length` in tokens, share of answers that `ended`, and `repetition`."""
    found: dict[str, dict[str, float]] = {"length": {}, "ended": {}, "repetition": {}}
    for version, by_set in graded.items():
        answers = [answer for members in by_set.values() for answer in members]
        if answers:
            found["length"][version] = _mean([float(a.num_tokens) for a in answers])
            found["ended"][version] = _mean([float(a.ended) for a in answers])
            found["repetition"][version] = _mean([a.repetition for a in answers])
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
