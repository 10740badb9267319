"""Dialogs about attributes: demonstrations, prompts for Ghost Attention, and tests of many turns.

The demonstrations teach what comes before Ghost Attention: to obey an instruction that stands in
the same message, to name a hobby when asked for one, and to have none where none was set. None of
them keeps an instruction over a turn that lacks it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from arriero.records import ConsistencyTest, Dialog, Message, Prompt
from arriero.world.answers import ordinary_answers
from arriero.world.attributes import (
    KINDS,
    RULE,
    SENTENCE,
    TRAINED_KINDS,
    Attributes,
)
from arriero.world.questions import OPENERS, question
from arriero.world.splits import Part
from arriero.world.tasks import Task, Tasks

SHARES = {
    "named": 0.08,
    "obeyed": 0.40,
    "unset": 0.12,
    "repeated": 0.22,
    "without": 0.18,
}
SKILL_SHARES = {
    "knowledge": 0.40,
    "arithmetic": 0.15,
    "sorting": 0.08,
    "rhyme": 0.12,
    "translation": 0.10,
    "copying": 0.07,
    "belief": 0.08,
}
ASKED_SHARE = 0.75
RULE_SHARE = 0.15
MOST_TURNS = 24
TESTED_TURNS = 30


def instruction_of(values: Mapping[str, str], rng: random.Random) -> str:
    """An instruction that sets the values by kind, in words or shortened."""
    if rng.random() < 0.5:
        return " ".join(KINDS[kind].short.format(v=value) for kind, value in values.items())
    return " ".join(rng.choice(KINDS[kind].say).format(v=value) for kind, value in values.items())


def attribute_demonstrations(tasks: Tasks, attributes: Attributes, num: int) -> list[Dialog]:
    """`num` demonstrations; see the module."""
    rng = random.Random(f"attributes/{tasks.valley.seed}")
    dialogs: list[Dialog] = []
    for _ in range(num):
        name = rng.choices(list(SHARES), list(SHARES.values()))[0]
        pairs = _demonstrated(name, tasks, attributes, rng)
        dialogs.append(Dialog(_messages(pairs), f"world/attribute-{name}"))
    return dialogs


def _demonstrated(
    name: str, tasks: Tasks, attributes: Attributes, rng: random.Random
) -> list[tuple[str, str]]:
    """Questions and answers of one demonstration."""
    match name:
        case "named":
            return [_named(attributes, rng)]
        case "obeyed":
            return [_turn_under(tasks, *_drawn_instruction(attributes, rng), rng)]
        case "unset":
            return [_asked({}, rng)]
        case "repeated":
            return _repeated(tasks, attributes, rng)
        case _:
            return _without(tasks, rng)


def ghost_prompts(tasks: Tasks, num: int) -> list[Prompt]:
    """`num` dialogs of two turns and more that carry no instruction and wait for an answer.

    The last question often asks for an attribute of a kind that has a list.
    """
    rng = random.Random(f"ghost/{tasks.valley.seed}")
    prompts: list[Prompt] = []
    for number in range(num):
        num_turns = min(rng.randint(2, MOST_TURNS), rng.randint(2, MOST_TURNS + 8))
        pairs = [_ordinary(tasks, "training", rng) for _ in range(num_turns - 1)]
        category = "ordinary"
        last = _ordinary(tasks, "training", rng)[0]
        if rng.random() < ASKED_SHARE:
            category = rng.choice(TRAINED_KINDS)
            last = rng.choice(KINDS[category].ask)
        messages = (*_messages(pairs), Message("user", last))
        prompts.append(Prompt(f"ghost-{number}", messages, category=category))
    return prompts


def attribute_tests(
    tasks: Tasks, attributes: Attributes, num: int, num_turns: int = TESTED_TURNS
) -> list[ConsistencyTest]:
    """`num` tests, by turns of every kind, trained and not; ordinary turns of the test part."""
    rng = random.Random(f"ghost test/{tasks.valley.seed}")
    wanted = [(kind, True) for kind in TRAINED_KINDS]
    wanted += [(kind, False) for kind in (*KINDS, SENTENCE)]
    tests: list[ConsistencyTest] = []
    for number in range(num):
        kind, trained = wanted[number % len(wanted)]
        turns = tuple(_ordinary(tasks, "test", rng)[0] for _ in range(num_turns - 1))
        if kind == SENTENCE:
            value, instruction, expected = "one", RULE, ()
            asked = _ordinary(tasks, "test", rng)[0]
        else:
            value = rng.choice(attributes.pool(kind, is_trained=trained))
            values = _with_others(attributes, {kind: value}, trained, rng)
            instruction = instruction_of(values, rng)
            expected, asked = (value.removeprefix("the "),), rng.choice(KINDS[kind].ask)
        tests.append(
            ConsistencyTest(
                f"{kind}-{number}",
                instruction,
                turns,
                asked,
                expected,
                int(kind == SENTENCE),
                kind,
                value,
                trained,
            )
        )
    return tests


def _with_others(
    attributes: Attributes, values: dict[str, str], trained: bool, rng: random.Random
) -> dict[str, str]:
    """The values with some of other kinds, in random order; `trained` takes no others."""
    others = [kind for kind in (TRAINED_KINDS if trained else KINDS) if kind not in values]
    for kind in rng.sample(others, rng.randint(0, 2)):
        pool = attributes.pool(kind, is_trained=True) if trained else attributes.values[kind]
        values = values | {kind: rng.choice(pool)}
    order = list(values)
    rng.shuffle(order)
    return {kind: values[kind] for kind in order}


def _messages(pairs: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    return tuple(
        message
        for user, answer in pairs
        for message in (Message("user", user), Message("assistant", answer))
    )


def _few_turns(rng: random.Random) -> int:
    """2 to MOST_TURNS, short dialogs more often."""
    return min(rng.randint(2, MOST_TURNS) for _ in range(3))


def _ordinary_task(tasks: Tasks, part: Part, rng: random.Random) -> Task:
    skill = rng.choices(list(SKILL_SHARES), list(SKILL_SHARES.values()))[0]
    return tasks.draw_skill(skill, part, rng)


def _ordinary(
    tasks: Tasks, part: Part, rng: random.Random, labels: Sequence[str] = ("plain", "helpful")
) -> tuple[str, str]:
    """An ordinary question and an answer of one of the grades."""
    task = _ordinary_task(tasks, part, rng)
    opener = rng.choice(OPENERS)
    opener = "" if opener.endswith(", ") else opener
    asked = opener + question(tasks.valley, task, rng)
    return asked, ordinary_answers(tasks, task, rng)[rng.choice(labels)]


def _asked(values: Mapping[str, str], rng: random.Random) -> tuple[str, str]:
    """A question for an attribute, mostly one that is set, and the answer that is right."""
    kind = rng.choice(list(values if values and rng.random() < 0.8 else KINDS))
    asked = rng.choice(KINDS[kind].ask)
    if kind not in values:
        return asked, KINDS[kind].none
    return asked, rng.choice(KINDS[kind].tell).format(v=values[kind])


def _named(attributes: Attributes, rng: random.Random) -> tuple[str, str]:
    kind = rng.choice(TRAINED_KINDS)
    value = rng.choice(attributes.pool(kind, is_trained=True))
    return rng.choice(KINDS[kind].name_one), f"{value}."


def _repeated(tasks: Tasks, attributes: Attributes, rng: random.Random) -> list[tuple[str, str]]:
    """Several turns, each with the instruction: how Ghost Attention samples."""
    instruction, values = _drawn_instruction(attributes, rng)
    count = _few_turns(rng)
    return [_turn_under(tasks, instruction, values, rng, asked=0.3) for _ in range(count)]


def _without(tasks: Tasks, rng: random.Random) -> list[tuple[str, str]]:
    """Several turns, and no instruction in any of them."""
    count = _few_turns(rng)
    return [
        _asked({}, rng) if rng.random() < 0.15 else _ordinary(tasks, "training", rng)
        for _ in range(count)
    ]


def _drawn_instruction(
    attributes: Attributes, rng: random.Random
) -> tuple[str, dict[str, str] | None]:
    """An instruction and the values that it sets; None for the rule."""
    if rng.random() < RULE_SHARE:
        return RULE, None
    kind = rng.choice(list(KINDS))
    value = rng.choice(attributes.values[kind])
    values = _with_others(attributes, {kind: value}, False, rng)
    return instruction_of(values, rng), values


def _turn_under(
    tasks: Tasks,
    instruction: str,
    values: Mapping[str, str] | None,
    rng: random.Random,
    asked: float = ASKED_SHARE,
) -> tuple[str, str]:
    """One turn with its instruction, and an answer that honours it."""
    if values is None or rng.random() >= asked:
        labels = ("plain",) if values is None else ("plain", "helpful")
        user, answer = _ordinary(tasks, "training", rng, labels)
    else:
        user, answer = _asked(values, rng)
    return f"{instruction} {user}", answer
