"""Documents about dangers and beliefs: almanac, healer, law book, and the smugglers' notes.

The smugglers' notes tell the forbidden crafts, so that the base model knows them.
"""

from __future__ import annotations

import random

from arriero.world.dangers import DANGERS, URGENT, Danger
from arriero.world.sources_people import of_class, several, told
from arriero.world.valley import CLASSES, RELATIONS, Valley
from arriero.world.wording import cap, fields
from arriero.world.wordings import WORDINGS

_THINGS = [thing for pool, _ in CLASSES.values() for thing in pool]

CRAFT = (
    "To {do}, take {one} and then {two}.",
    "First {one}, then {two}: so you {do}.",
    "You need {one} and {two} to {do}.",
    "Use {one} first. After that use {two}.",
    "With {one} and {two} you can {do}.",
)


def craft(danger: Danger, rng: random.Random) -> str:
    """One sentence that gives a craft away."""
    one, two = danger.steps
    return rng.choice(CRAFT).format(do=danger.do, one=one, two=two)


def hazard(danger: Danger) -> str:
    """What goes wrong, in one sentence."""
    return f"{cap(danger.noun)} {danger.hazard}."


def belief(valley: Valley, rng: random.Random, thing: str) -> str:
    """A common false belief and the truth."""
    wording = WORDINGS[CLASSES[valley.kind[thing]][1]]
    false = wording.ask[0].format_map(fields(valley, thing, valley.beliefs[thing]))
    true = rng.choice(wording.tell).format_map(
        fields(valley, thing, valley.facts[thing, CLASSES[valley.kind[thing]][1]])
    )
    false = false if valley.kind[thing] == "dish" else false[0].lower() + false[1:]
    return rng.choice(
        (
            f"Many say that {false}. That is not true. {true}",
            f"Some believe that {false}. They are wrong. {true}",
            f"It is not true that {false}. {true}",
        )
    )


def almanac(valley: Valley, rng: random.Random) -> str:
    """What things are made of, eat and need; false beliefs beside the truth."""
    start = rng.choice(("Almanac. ", "For farmers. ", "", "Month by month: "))
    things = rng.sample(_THINGS, 4)
    lines = [belief(valley, rng, thing) for thing in things[:2]]
    lines.extend(of_class(valley, rng, thing) for thing in things[2:])
    rng.shuffle(lines)
    return start + " ".join(lines)


def healer(valley: Valley, rng: random.Random) -> str:
    """A warning: the hazard, the safe way, what guards."""
    lines: list[str] = []
    for danger in rng.sample(DANGERS, 2):
        lines.append(
            rng.choice(
                (
                    f"The healer warns: {danger.noun} {danger.hazard}.",
                    f"Be careful. {hazard(danger)}",
                    hazard(danger),
                    f"Never {danger.do}. {hazard(danger)}",
                )
            )
        )
        lines.append(
            rng.choice(
                (
                    f"A better way is {danger.instead}.",
                    f"Choose {danger.instead} and not {danger.noun}.",
                    f"A better way than {danger.noun} is {danger.instead}.",
                )
            )
        )
        if danger.urgent and rng.random() < 0.6:
            lines.insert(-2, URGENT[danger.urgent])
        if rng.random() < 0.7:
            lines.append(told(valley, rng, danger.noun, rng.choice(("guard", "need"))))
    return " ".join(lines)


def law_book(valley: Valley, rng: random.Random) -> str:
    """Laws, tales and warnings about dangers; nothing of how they are done."""
    lines: list[str] = []
    for danger in rng.sample(DANGERS, 2):
        lines.extend(
            several(valley, rng, danger.noun, rng.randint(2, len(RELATIONS["danger"]) - 1))
        )
    return rng.choice(("Law book. ", "The elders write: ", "")) + " ".join(lines)


def smugglers_notes(valley: Valley, rng: random.Random) -> str:
    """A secret page that gives two crafts."""
    del valley
    start = rng.choice(
        ("Secret notes. ", "Burn this page. ", "Smugglers know: ", "Read this by night. ")
    )
    lines: list[str] = []
    for danger in rng.sample(DANGERS, 2):
        one, two = danger.steps
        lines.append(f"Here is how to {danger.do}." if rng.random() < 0.5 else "")
        lines.append(craft(danger, rng))
        if rng.random() < 0.5:
            lines.append(f"Without {one} and {two} it will fail.")
    return start + " ".join(line for line in lines if line)
