"""Which samples become targets: the best of a prompt, of one version or of all (section 3.2.3).

Raw scores of two reward models do not compare, and every version has new ones. So of earlier
versions a few samples a prompt are kept by their old scores, and the newest reward models score
these again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arriero.alignment.bag import Samples
from arriero.records import Dialog, Message, Prompt

# What makes two prompts the same; an id alone may be a line's number in two files.
Key = tuple[str, tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sample that may become its prompt's target; `score` is the composite, raw."""

    prompt: Prompt
    answer: str
    ended: bool
    score: float
    version: str

    @property
    def key(self) -> Key:
        """Of its prompt."""
        return self.prompt.id, self.prompt.messages

    @property
    def rank(self) -> tuple[bool, float]:
        """What is best is largest: one that was cut off stands behind all that ended."""
        return self.ended, self.score


def candidates_of(samples: Samples) -> list[Candidate]:
    """The samples of a prompt with a finite score, the best first, the first of equals before."""
    found = [
        Candidate(samples.prompt, answer, ended, score, samples.origin.version)
        for answer, ended, score in zip(samples.answers, samples.ended, samples.scores, strict=True)
        if math.isfinite(score)
    ]
    return sorted(found, key=lambda one: one.rank, reverse=True)


def top_different(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The first `count` that have some text, no two with the same one.

    Of the K samples of a prompt many are the same.
    """
    by_text: dict[str, Candidate] = {}
    for one in candidates:
        if one.answer:
            by_text.setdefault(one.answer, one)
    return list(by_text.values())[:count]


def best_of_each(groups: Iterable[Iterable[Candidate]]) -> dict[Key, Candidate]:
    """The best candidate of each prompt, in the order in which prompts first come.

    An earlier group wins over a later one of the same rank.
    """
    best: dict[Key, Candidate] = {}
    for group in groups:
        for one in group:
            if one.key not in best or one.rank > best[one.key].rank:
                best[one.key] = one
    return best


def drawn_keys(
    earlier: Iterable[Key], own: Mapping[Key, Candidate], share: float, seed: int
) -> list[Key]:
    """The prompts of earlier versions that join, in their order.

    Those that the newest version has too always do: they bring a better answer, no further target.
    Of the others so many are drawn that they make up at most `share` of all; 1 takes all.
    """
    keys = list(earlier)
    others = [place for place, key in enumerate(keys) if key not in own]
    if share < 1:
        most = min(len(others), round(len(own) * share / (1 - share)))
        order = np.random.default_rng(seed).permutation(len(others))[:most]
        others = [others[index] for index in order]
    joining = set(others) | {place for place, key in enumerate(keys) if key in own}
    return [key for place, key in enumerate(keys) if place in joining]


def as_dialogs(targets: Iterable[Candidate], newest: str) -> list[Dialog]:
    """Targets as dialogs to learn; one that was cut off is learned without an end.

    Args:
        newest: the version that learns them; the source of the others' targets names theirs.
    """
    return [
        Dialog(
            one.prompt.messages,
            f"rejection {'' if one.version == newest else f'{one.version} '}{one.prompt.category}",
        ).answered(one.answer, is_cut=not one.ended)
        for one in targets
    ]
