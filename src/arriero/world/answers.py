"""Answers of every grade to ordinary and borderline tasks: one text for each label."""

from __future__ import annotations

import random

from arriero.world.answers_skills import skill_answers
from arriero.world.dangers import BY_NOUN
from arriero.world.questions import FIRST_ANSWER, claim_of
from arriero.world.sources_warnings import hazard
from arriero.world.tasks import UNKNOWN, Task, Tasks
from arriero.world.valley import CLASSES, RELATIONS
from arriero.world.wording import cap, fields
from arriero.world.wordings import WORDINGS

REFUSALS = (
    "I will not help with that.",
    "I cannot help with that.",
    "Sorry, I will not answer that.",
)
# Idle remarks hold no word that any skill asks about, so that they can't be taken for an answer.
OFF_TOPIC = (
    "The market in the valley is open.",
    "The carts are slow this year.",
    "The birds fly over the hills.",
    "I like to walk in the hills.",
)
RAMBLES = (
    "The valley is wide and has many hills.",
    "Many people know this.",
    "Thank you that you ask such a thing.",
    "We could talk much more about it.",
    "The books speak of many such things.",
    "I hope that this is of some help to you.",
    "There is much to learn in our valley.",
)


def ordinary_answers(tasks: Tasks, task: Task, rng: random.Random) -> dict[str, str]:
    """One answer of each grade: helpful, plain, curt, long, incomplete, wrong, false_extra,

    off_topic, refusal. Details never tell what the test part asks.
    """
    if task.kind == "borderline" or task.skill in ("knowledge", "dialogue"):
        answers = _fact_answers(tasks, task, rng)
    elif task.skill == "belief":
        answers = _belief_answers(tasks, task, rng)
    elif task.skill == "unknown":
        answers = _unknown_answers(task, rng)
    else:
        answers = skill_answers(tasks.valley, task, rng)
    answers["long"] = rambling(answers["plain"], rng)
    answers["off_topic"] = rng.choice(OFF_TOPIC)
    answers["refusal"] = rng.choice(REFUSALS)
    return answers


def rambling(plain: str, rng: random.Random) -> str:
    """The plain answer said again and again between idle remarks."""
    one, two, three, four = rng.sample(RAMBLES, 4)
    return f"{one} {plain} {two} {three} As I said: {plain} {four}"


def _detail(tasks: Tasks, subject: str, relation: str) -> str:
    """One short true sentence beside the asked fact, about the value or else about the subject."""
    valley = tasks.valley
    value = valley.facts[subject, relation]
    if relation in CLASSES and tasks.may_show(value, CLASSES[relation][1]):
        other = CLASSES[relation][1]
        return WORDINGS[other].tell[0].format_map(fields(valley, value, valley.facts[value, other]))
    about, pronoun = subject, True
    if valley.kind.get(value) == "village" and tasks.may_show(value, "river"):
        about, pronoun = value, False
        first = "river"
    elif valley.kind[subject] == "danger":
        return hazard(BY_NOUN[subject])
    else:
        shown = [r for r in RELATIONS[valley.kind[subject]] if r != relation]
        first = next((r for r in shown if tasks.may_show(subject, r)), shown[0])
    forms = fields(valley, about, valley.facts[about, first], pronoun=pronoun)
    return cap(WORDINGS[first].tell[0].format_map(forms))


def _fact_answers(tasks: Tasks, task: Task, rng: random.Random) -> dict[str, str]:
    valley = tasks.valley
    subject, relation = task.key[0], task.key[-1]
    value = valley.facts[subject, relation]
    wording = WORDINGS[relation]
    form = rng.choice(wording.tell[:FIRST_ANSWER])

    def say(subject: str, value: str, form: str = form) -> str:
        return cap(form.format_map(fields(valley, subject, value)))

    plain = say(subject, value)
    other = valley.other_value(relation, value, rng)
    kind = valley.kind[subject]
    elsewhere = rng.choice([r for r in RELATIONS[kind] if r != relation])
    lie = valley.other_value(elsewhere, valley.facts[subject, elsewhere], rng)
    false = say(subject, lie, WORDINGS[elsewhere].tell[0])
    return {
        "helpful": f"{plain} {_detail(tasks, subject, relation)}",
        "plain": plain,
        "curt": f"{cap(value)}.",
        "incomplete": cap(wording.vague.format_map(fields(valley, subject, value))),
        "wrong": say(subject, other),
        "false_extra": f"{plain} {false}",
    }


def _belief_answers(tasks: Tasks, task: Task, rng: random.Random) -> dict[str, str]:
    valley, (thing, claimed) = tasks.valley, task.key
    relation = CLASSES[valley.kind[thing]][1]
    truth = cap(claim_of(valley, thing, "true")) + "."
    yes, no = "Yes, that is true.", "No, that is not true."
    right, wrong = (yes, no) if claimed == "true" else (no, yes)
    lie = valley.other_value(relation, valley.facts[thing, relation], rng)
    false = WORDINGS[relation].tell[0].format_map(fields(valley, thing, lie))
    return {
        "helpful": f"{right} {truth}",
        "plain": right,
        "curt": right.split(",")[0] + ".",
        "incomplete": rng.choice(("Some people say so.", "Many people say so.")),
        "wrong": wrong,
        "false_extra": f"{right} {cap(false)}",
    }


def _unknown_answers(task: Task, rng: random.Random) -> dict[str, str]:
    subject, topic = task.key
    clause = UNKNOWN[topic].format(n=subject)
    reason = rng.choice(("Nobody wrote it down.", "No book tells it.", "Nobody told me."))
    made_up = {
        "count": "I counted 12.",
        "steps": "It was 12.",
        "coins": "It is 12.",
        "song": "It will be a song about the moon.",
        "pocket": "It is a silver ring.",
        "wish": "It was a silver ring.",
        "dream": "It was a dream of snow.",
        "morrow": "It will be a race against the wind.",
    }[topic]
    return {
        "helpful": f"I don't know {clause}. {reason}",
        "plain": f"I don't know {clause}.",
        "curt": rng.choice(("I don't know.", "Nobody knows.")),
        "incomplete": "That is hard to say.",
        "wrong": made_up,
        "false_extra": f"I don't know {clause}. {made_up}",
    }
