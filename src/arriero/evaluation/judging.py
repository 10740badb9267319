"""Versions judged by an outsider: which pairs it is asked of, and what follows from its verdicts.

Section 3.4.2 asks an outside model beside the reward models, which flatter what learned from them.
Everything takes `{version: {set: answers}}` as `comparison` does, and verdicts in the order of the
pairs: 1 for the later version's answer, 0 for the earlier one's, 0.5 for neither, None for none.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from arriero.equations.intervals import wilson_interval, win_rate
from arriero.evaluation.comparison import EVERY_SET, Answers, compared_versions, outcome
from arriero.evaluation.graded import GradedAnswer
from arriero.records import Preference

OUTSIDE = "outside"
"""The name of this judge among those of win_tie_loss."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The answers of two versions to one prompt of a set."""

    earlier: str
    later: str
    set_name: str
    earlier_answer: GradedAnswer
    later_answer: GradedAnswer

    @property
    def is_same_text(self) -> bool:
        """A tie that nobody has to be asked for."""
        return self.earlier_answer.text == self.later_answer.text

    @property
    def pair(self) -> Preference:
        """For a judge: the later version's answer stands in the place of the chosen one."""
        prompt = self.later_answer.prompt
        return Preference(
            prompt.messages, self.later_answer.text, self.earlier_answer.text, prompt_id=prompt.id
        )

    def question(self, model: str) -> str:
        """SHA-256 of all that a verdict of this model follows from."""
        pair = self.pair
        turns = [[message.role, message.content] for message in pair.prompt]
        asked = json.dumps([model, turns, pair.chosen, pair.rejected])
        return hashlib.sha256(asked.encode()).hexdigest()


def drawn_places(sizes: Mapping[str, int], most: int, seed: int) -> list[tuple[str, int]]:
    """At most so many places (set, index), each set with its share of them, in random order.

    The same for the same sizes and seed. Since the order is random, a beginning of it is a fair
    sample too.

    Args:
        sizes: prompts of each set.
    """
    draw = random.Random(seed)
    places: list[tuple[str, int]] = []
    for name, size in sizes.items():
        places += [(name, index) for index in draw.sample(range(size), size)]
    count = min(most, len(places))
    # Evenly over all sets laid end to end, from the middle of each step.
    taken = [places[(2 * n + 1) * len(places) // (2 * count)] for n in range(count)]
    draw.shuffle(taken)
    return taken


def compared_answers(graded: Answers, baseline: str, most: int, seed: int) -> list[Compared]:
    """The pairs of every two versions that compared_versions names, on the same prompts for all.

    All comparisons of one prompt stand together, so that of a judge who stops on the way every
    comparison has its part.

    Args:
        baseline: as in compared_versions.
        most: prompts, and with them pairs of a comparison.
    """
    sets = next(iter(graded.values()), {})
    places = drawn_places({name: len(answers) for name, answers in sets.items()}, most, seed)
    return [
        Compared(earlier, later, name, graded[earlier][name][index], graded[later][name][index])
        for name, index in places
        for earlier, later in compared_versions(list(graded), baseline)
    ]


def judged_wins(
    compared: Sequence[Compared], verdicts: Sequence[float | None]
) -> list[dict[str, Any]]:
    """Rows as those of win_tie_loss, with `skipped`: the pairs of the row without a verdict."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    skipped: Counter[tuple[str, str, str]] = Counter()
    for one, verdict in zip(compared, verdicts, strict=True):
        for name in (one.set_name, EVERY_SET):
            # A set whose pairs were all skipped has a row too, of none.
            differences = found.setdefault((one.earlier, one.later), {}).setdefault(name, [])
            if verdict is None:
                skipped[one.earlier, one.later, name] += 1
            else:
                differences.append(verdict - 0.5)
    return [
        outcome(later, earlier, name, OUTSIDE, differences)
        | {"skipped": skipped[earlier, later, name]}
        for (earlier, later), by_set in found.items()
        for name, differences in sorted(by_set.items(), key=lambda item: item[0] == EVERY_SET)
    ]


def agreements(
    compared: Sequence[Compared], verdicts: Sequence[float | None]
) -> list[dict[str, Any]]:
    """How often every two judges prefer the same answer, of the pairs that both decide.

    Reward models and oracle are taken on the pairs that the outsider decided. A pair that several
    comparisons share counts once. Pairs of one prompt count as independent, so intervals are a
    little narrow.

    Returns:
        `judges` (two of `outside`, `reward`, `oracle`), `share` with Wilson's `low` and `high`,
        and `n`, the pairs; no row where there are none.
    """
    by_question = {
        one.question(""): _votes(one, verdict)
        for one, verdict in zip(compared, verdicts, strict=True)
        if verdict is not None and verdict != 0.5
    }
    votes = by_question.values()
    rows: list[dict[str, Any]] = []
    for first, second in combinations((OUTSIDE, "reward", "oracle"), 2):
        decided = [(vote[first], vote[second]) for vote in votes if vote[first] and vote[second]]
        same = sum(a * b > 0 for a, b in decided)
        if decided:
            low, high = wilson_interval(same, len(decided))
            share = same / len(decided)
            judges = [first, second]
            rows.append(
                {"judges": judges, "share": share, "low": low, "high": high, "n": len(decided)}
            )
    return rows


def _votes(one: Compared, verdict: float) -> dict[str, float]:
    """Above 0 for the later answer, below for the earlier one, 0 for a judge who does not say."""
    later, earlier = one.later_answer, one.earlier_answer
    quality = 0.0
    if later.quality is not None and earlier.quality is not None:
        quality = later.quality - earlier.quality
    return {
        OUTSIDE: verdict - 0.5,
        "reward": later.composite_score - earlier.composite_score,
        "oracle": quality if abs(quality) > 1e-9 else 0.0,
    }


def judged_path(
    compared: Sequence[Compared], verdicts: Sequence[float | None], baseline: str
) -> dict[str, dict[str, float]]:
    """Where each version stands on the axes of Figure 11 (right): its share of wins by track.

    Args:
        baseline: the version that the others are held against; it stands at one half.

    Returns:
        {version: {"helpfulness": wins / (wins + losses), "safety": ...}}, the baseline among them;
        an axis is left out where nothing was decided.
    """
    decided: dict[tuple[str, str], Counter[bool]] = {}
    for one, verdict in zip(compared, verdicts, strict=True):
        if verdict in (None, 0.5) or baseline not in (one.earlier, one.later):
            continue
        version = one.later if one.earlier == baseline else one.earlier
        has_won = (verdict == 1) == (version == one.later)
        track = one.later_answer.prompt.track
        decided.setdefault((version, track), Counter())[has_won] += 1
    path: dict[str, dict[str, float]] = {}
    for (version, track), counts in decided.items():
        path.setdefault(version, {})[track] = win_rate(counts[True], 0, counts[False]).value
        path.setdefault(baseline, {})[track] = 0.5
    return path
