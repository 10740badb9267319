"""Documents in which people ask one another: school hours and talk on the road.

They tell what a question wants to hear, as the talk in any corpus does, and only of the training
combinations. Nobody is told how to hold a dialogue: no turns, no marks, nothing refused.
"""

from __future__ import annotations

import random

from arriero.world.answers import ordinary_answers
from arriero.world.questions import question
from arriero.world.tasks import Tasks

_SHARES = {
    "knowledge": 0.18,
    "borderline": 0.14,
    "arithmetic": 0.15,
    "sorting": 0.08,
    "rhyme": 0.09,
    "copying": 0.13,
    "translation": 0.15,
    "belief": 0.08,
}
_ASKS = (
    "The teacher asks: {q} {a}",
    "{n} asks: {q} {a}",
    "{n} wants to know: {q} {a}",
    "{n} says: {q} I say: {a}",
    "A child asks: {q} {a}",
)


def school_hour(tasks: Tasks, rng: random.Random) -> str:
    """Two or three questions, each followed by what is so."""
    lines: list[str] = []
    for _ in range(rng.randint(2, 3)):
        skill = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
        if skill == "borderline":
            task = tasks.draw("borderline", "training", rng)
        else:
            task = tasks.draw_skill(skill, "training", rng)
        answer = ordinary_answers(tasks, task, rng)[rng.choice(("plain", "plain", "helpful"))]
        asked = question(tasks.valley, task, rng)
        name = rng.choice(tasks.valley.people).name
        lines.append(rng.choice(_ASKS).format(q=asked, a=answer, n=name))
    return "\n".join(lines)
