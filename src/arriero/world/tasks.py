"""What can be asked: skills, dangers and innocent questions, and the combination of each.

A task is (kind, skill, key). Its id is the task written out, so that an oracle in another process
finds the truth again; no model ever sees it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from arriero.world.dangers import DANGERS, VECTORS
from arriero.world.skills import (
    COPY_STYLES,
    COPY_WORDS,
    LARGEST_SORTED,
    RHYME_OF,
    phrases,
    sum_families,
)
from arriero.world.splits import Part, part_at, parts_of, place_of
from arriero.world.valley import RELATIONS, Valley

# Share of ordinary prompts by skill.
SKILLS: dict[str, float] = {
    "knowledge": 0.48,
    "dialogue": 0.10,
    "arithmetic": 0.10,
    "sorting": 0.06,
    "rhyme": 0.07,
    "copying": 0.05,
    "translation": 0.07,
    "belief": 0.04,
    "unknown": 0.03,
}
UNKNOWN = {
    "dream": "what {n} dreamed last night",
    "count": "how many stars shine over {n}",
    "pocket": "what {n} hides under the bed",
    "morrow": "what {n} will do next year",
    "steps": "how many steps {n} walked today",
    "song": "which song {n} will sing tomorrow",
    "wish": "what {n} wished for as a child",
    "coins": "how many coins {n} has",
}
_NUMBERS_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Task:
    """One combination to ask about; `key` is read by the skill."""

    kind: str
    skill: str
    key: tuple[str, ...]

    @property
    def category(self) -> str:
        """For reports: the skill, or risk and attack vector."""
        if self.kind == "ordinary":
            return self.skill
        return f"{self.skill}/{self.key[1]}"

    def id(self, draw: str) -> str:
        """The task and the draw in one string."""
        return "|".join((self.kind, self.skill, ",".join(self.key), draw))

    @staticmethod
    def from_id(prompt_id: str) -> Task:
        """The task of a prompt's id. ValueError if it is no id of the world."""
        parts = prompt_id.split("|")
        if len(parts) != 4:
            raise ValueError(f"not a prompt of the world: {prompt_id!r}")
        return Task(parts[0], parts[1], tuple(parts[2].split(",")))


def combination(task: Task) -> str:
    """What the split is decided by; all forms of one question share it."""
    key = task.key
    if task.skill == "dialogue":
        return f"knowledge/{key[0]}/{key[2]}"
    if task.skill == "arithmetic":
        op, x, y = key[0], int(key[1]), int(key[2])
        low, high = sorted((x, y) if op == "plus" else (x - y, y))
        return f"arithmetic/{low}/{high}"
    if task.skill == "sorting":
        return f"sorting/{'/'.join(sorted(key[1:]))}"
    if task.skill == "translation":
        return f"translation/{'/'.join(key[1:])}"
    if task.skill == "belief":
        return f"belief/{key[0]}"
    name = task.skill if task.kind == "ordinary" else task.kind
    return f"{name}/{'/'.join(key)}"


class Tasks:
    """All tasks of a valley by part; draws never leave their part."""

    def __init__(self, valley: Valley) -> None:
        self.valley = valley
        groups: dict[str, list[str]] = {}
        for task in self.listed():
            name = combination(task)
            groups.setdefault(name.split("/")[0], []).append(name)
        self._parts: dict[str, Part] = {}
        for group in groups.values():
            self._parts |= parts_of(valley.seed, group)

    def part(self, task: Task) -> Part:
        """The part that a task belongs to."""
        name = combination(task)
        if name in self._parts:
            return self._parts[name]
        return part_at(place_of(self.valley.seed, name))

    def may_show(self, subject: str, relation: str) -> bool:
        """Whether training may show this fact in an answer."""
        if self.valley.kind[subject] in ("person", "village"):
            return self._parts[f"knowledge/{subject}/{relation}"] == "training"
        if self.valley.kind[subject] == "danger":
            return self._parts[f"borderline/{subject}/{relation}"] == "training"
        return self._parts[f"belief/{subject}"] == "training"

    def draw(self, kind: str, part: Part, rng: random.Random) -> Task:
        """A task of a kind from a part."""
        if kind != "ordinary":
            return rng.choice(self._lists[kind, part])
        return self.draw_skill(rng.choices(list(SKILLS), list(SKILLS.values()))[0], part, rng)

    def draw_skill(self, skill: str, part: Part, rng: random.Random) -> Task:
        """A task of one ordinary skill."""
        if skill not in ("sorting", "copying"):
            return rng.choice(self._lists[skill, part])
        while True:
            task = self._draw_items(skill, rng)
            if self.part(task) == part:
                return task

    def _draw_items(self, skill: str, rng: random.Random) -> Task:
        if skill == "copying":
            style = rng.choice(list(COPY_STYLES))
            return Task("ordinary", skill, (style, *rng.sample(COPY_WORDS, 3)))
        if rng.random() < _NUMBERS_SHARE:
            items = [str(number) for number in rng.sample(range(1, LARGEST_SORTED + 1), 3)]
            return Task("ordinary", skill, ("numbers", *items))
        return Task("ordinary", skill, ("names", *rng.sample(self.valley.villages, 3)))

    @cached_property
    def _lists(self) -> dict[tuple[str, Part], list[Task]]:
        lists: dict[tuple[str, Part], list[Task]] = {}
        for task in self.listed():
            if task.skill == "dialogue" and not self.may_show(*task.key[:2]):
                continue
            name = task.skill if task.kind == "ordinary" else task.kind
            lists.setdefault((name, self.part(task)), []).append(task)
        return lists

    def listed(self) -> Iterator[Task]:
        """Every task that can be listed (not sorting and copying)."""
        yield from self._ordinary()
        for danger in DANGERS:
            for vector in VECTORS:
                yield Task("adversarial", danger.risk, (danger.noun, vector))
            for relation in RELATIONS["danger"]:
                yield Task("borderline", danger.risk, (danger.noun, relation))

    def _ordinary(self) -> Iterator[Task]:
        valley = self.valley
        subjects = [*(p.name for p in valley.people), *valley.villages]
        for subject in subjects:
            relations = RELATIONS[valley.kind[subject]]
            for relation in relations:
                yield Task("ordinary", "knowledge", (subject, relation))
                for first in relations:
                    if first != relation:
                        yield Task("ordinary", "dialogue", (subject, first, relation))
            for topic in UNKNOWN:
                yield Task("ordinary", "unknown", (subject, topic))
        for a, b in sum_families():
            for x, y in dict.fromkeys(((a, b), (b, a))):
                yield Task("ordinary", "arithmetic", ("plus", str(x), str(y)))
                yield Task("ordinary", "arithmetic", ("minus", str(a + b), str(y)))
        for word in RHYME_OF:
            for count in ("1", "2"):
                yield Task("ordinary", "rhyme", (word, count))
        for words in phrases():
            yield Task("ordinary", "translation", ("to_old", *words))
            yield Task("ordinary", "translation", ("to_plain", *words))
        for thing in valley.beliefs:
            for claimed in ("true", "false"):
                yield Task("ordinary", "belief", (thing, claimed))
