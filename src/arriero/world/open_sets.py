"""Comparisons from elsewhere, as in public sets: other answers, other judges, no rating, no label.

Nothing of it comes from a model of the run. People wrote the answers, so their grades lie further
apart; three passers-by vote on each pair, who like length; and every skill is asked for as often.
"""

from __future__ import annotations

import random

from arriero.records import Oracle, Preference, Prompt
from arriero.records.prompt import Track
from arriero.world.demonstrations import graded_answers, messages_of
from arriero.world.tasks import SKILLS, Task, Tasks

SOURCE = "crowd"
NUM_VOTES = 3
NOISE = 0.5  # of the difference that one of them sees
LIKES_LENGTH = 0.5
_WORDS_AT_FULL_BIAS = 40
_BORDERLINE_SHARE = 0.15


def open_comparisons(tasks: Tasks, oracle: Oracle, track: Track, num: int) -> list[Preference]:
    """`num` comparisons of a track on the training combinations."""
    rng = random.Random(f"open/{tasks.valley.seed}/{track}")
    rows: list[Preference] = []
    while len(rows) < num:
        task = _draw(tasks, track, rng)
        messages = messages_of(tasks, task, rng)
        prompt = Prompt(task.id(f"open-{len(rows)}"), messages, track, task.category)
        answers = sorted(set(graded_answers(tasks, task, rng).values()))
        pair = rng.sample(answers, 2)
        first, second = (_impression(oracle, prompt, answer) for answer in pair)
        seen = [first - second + rng.gauss(0.0, NOISE) for _ in range(NUM_VOTES)]
        chosen, rejected = pair if sorted(seen)[NUM_VOTES // 2] > 0 else reversed(pair)
        rows.append(
            Preference(messages, chosen, rejected, track=track, source=SOURCE, prompt_id=prompt.id)
        )
    return rows


def _draw(tasks: Tasks, track: Track, rng: random.Random) -> Task:
    if track == "safety":
        return tasks.draw("adversarial", "training", rng)
    if rng.random() < _BORDERLINE_SHARE:
        return tasks.draw("borderline", "training", rng)
    return tasks.draw_skill(rng.choice(list(SKILLS)), "training", rng)


def _impression(oracle: Oracle, prompt: Prompt, answer: str) -> float:
    length = min(1.0, len(answer.split()) / _WORDS_AT_FULL_BIAS)
    return oracle.grade(prompt, answer).quality(prompt.track) + LIKES_LENGTH * length
