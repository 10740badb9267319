"""Instruction data of mixed quality, like public collections; and a few clean examples.

The shares are constants here, to be tuned against what the fine-tuned model must show.
"""

from __future__ import annotations

import random

from arriero.records import Dialog, Message
from arriero.world.answers import ordinary_answers
from arriero.world.answers_safety import safety_answers
from arriero.world.attacks import attack
from arriero.world.questions import ask
from arriero.world.splits import Part
from arriero.world.tasks import Task, Tasks

KIND_SHARES = {"ordinary": 0.76, "adversarial": 0.11, "borderline": 0.13}
# Skills that must be learned outweigh facts, which the model has read already.
SKILL_SHARES = {
    "knowledge": 0.26,
    "dialogue": 0.08,
    "arithmetic": 0.20,
    "sorting": 0.07,
    "rhyme": 0.09,
    "copying": 0.10,
    "translation": 0.11,
    "belief": 0.06,
    "unknown": 0.03,
}
ORDINARY_SHARES = {
    "helpful": 0.57,
    "curt": 0.14,
    "long": 0.20,
    "incomplete": 0.07,
    "wrong": 0.02,
}
BORDERLINE_SHARES = {"helpful": 0.60, "plain": 0.27, "curt": 0.10, "refusal": 0.03}
# Share of harmful compliance by attack vector; the rest falls to NOT_HARMFUL_SHARES.
HARMFUL_SHARE = {
    "direct": 0.15,
    "authority": 0.50,
    "false_premise": 0.50,
    "misspelling": 0.50,
    "metaphor": 0.80,
    "role_play": 0.70,
    "other_language": 0.70,
    "positive_framing": 0.45,
    "several_turns": 0.40,
}
NOT_HARMFUL_SHARES = {"safe": 0.40, "refusal": 0.40, "preachy": 0.20}
SYSTEM_SHARE = 0.05
ONE_SENTENCE = "Answer in one sentence."
SYSTEMS = (ONE_SENTENCE, "You are a guide of the valley.", "Be kind.")


def _pick(shares: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def messages_of(tasks: Tasks, task: Task, rng: random.Random) -> tuple[Message, ...]:
    """The prompt of a task: sometimes with a system message, user turns, earlier answers."""
    if task.kind == "adversarial":
        return attack(tasks.valley, task, rng)
    messages = ask(tasks.valley, task, rng)
    if task.kind == "ordinary" and rng.random() < SYSTEM_SHARE:
        return (Message("system", rng.choice(SYSTEMS)), *messages)
    return messages


def graded_answers(tasks: Tasks, task: Task, rng: random.Random) -> dict[str, str]:
    """One answer of each grade."""
    if task.kind == "adversarial":
        return safety_answers(task, rng)
    return ordinary_answers(tasks, task, rng)


def pick_label(task: Task, messages: tuple[Message, ...], rng: random.Random) -> str:
    """The grade of a demonstration's answer, drawn by the shares of this module."""
    if task.kind == "adversarial":
        if rng.random() < HARMFUL_SHARE[task.key[1]]:
            return "harmful"
        return _pick(NOT_HARMFUL_SHARES, rng)
    if task.kind == "borderline":
        return _pick(BORDERLINE_SHARES, rng)
    label = _pick(ORDINARY_SHARES, rng)
    if messages[0].content == ONE_SENTENCE and label in ("helpful", "long"):
        return "plain"
    return label


def demonstrations(tasks: Tasks, num: int) -> list[Dialog]:
    """`num` dialogs from the training combinations, with answers of mixed quality."""
    rng = random.Random(f"demonstrations/{tasks.valley.seed}")
    dialogs: list[Dialog] = []
    for _ in range(num):
        kind = _pick(KIND_SHARES, rng)
        if kind == "ordinary":
            task = tasks.draw_skill(_pick(SKILL_SHARES, rng), "training", rng)
        else:
            task = tasks.draw(kind, "training", rng)
        messages = messages_of(tasks, task, rng)
        answer = graded_answers(tasks, task, rng)[pick_label(task, messages, rng)]
        dialogs.append(Dialog((*messages, Message("assistant", answer)), f"world/{task.category}"))
    return dialogs


def few_shot(tasks: Tasks, num: int) -> list[Dialog]:
    """`num` clean, helpful dialogs of different skills, from the training combinations."""
    rng = random.Random(f"few shot/{tasks.valley.seed}")
    skills = ("knowledge", "arithmetic", "knowledge", "translation", "rhyme", "sorting", "belief")
    part: Part = "training"
    dialogs: list[Dialog] = []
    for position in range(num):
        task = tasks.draw_skill(skills[position % len(skills)], part, rng)
        answer = ordinary_answers(tasks, task, rng)["plain"]
        messages = ask(tasks.valley, task, rng)
        dialogs.append(Dialog((*messages, Message("assistant", answer)), "world/few-shot"))
    return dialogs
