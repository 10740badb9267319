"""How each fact is told and asked: many wordings a relation, in both directions.

Fields: {S} {s} the subject (name or pronoun; capital first), {P} {p} its possessive, {o} its object
form, {n} always the name, {v} the value, {V} the value with a capital, {a} the value with a or an.
"""

from __future__ import annotations

from dataclasses import dataclass

from arriero.world.dangers import BY_NOUN
from arriero.world.valley import Valley


@dataclass(frozen=True, slots=True)
class Wording:
    """Sentences for one relation.

    The first three of `tell` are also used in answers. `vague` says less than was asked. For kinds
    of things, `ask` is a clause that can be put after "is it true that".
    """

    tell: tuple[str, ...]
    back: tuple[str, ...]
    ask: tuple[str, ...]
    vague: str


def lines(text: str) -> tuple[str, ...]:
    """The lines of a block, stripped."""
    return tuple(line.strip() for line in text.strip().splitlines())


def wording(tell: str, back: str, ask: str, vague: str) -> Wording:
    """A wording from blocks of lines."""
    return Wording(lines(tell), lines(back), lines(ask), vague)


def article(noun: str) -> str:
    """The noun with a or an."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def cap(text: str) -> str:
    """The text with a capital first letter; the other letters as they are."""
    return text[:1].upper() + text[1:]


def fields(valley: Valley, subject: str, value: str, *, pronoun: bool = False) -> dict[str, str]:
    """Fill-ins for the templates of this module."""
    kind = valley.kind[subject]
    forms = {"n": subject, "v": value, "V": cap(value), "a": article(value)}
    if pronoun and kind == "person":
        she = valley.person[subject].gender == "she"
        s, p, o = ("she", "her", "her") if she else ("he", "his", "him")
        forms |= {"S": s.capitalize(), "s": s, "P": p.capitalize(), "p": p, "o": o}
    elif pronoun and kind == "village":
        forms |= {"S": "It", "s": "it", "P": "Its", "p": "its", "o": "it"}
    else:
        forms |= {"S": cap(subject), "s": subject, "o": subject}
        forms |= {"P": f"{cap(subject)}'s", "p": f"{subject}'s"}
    if kind == "danger":
        forms["task"] = BY_NOUN[subject].task
    elif kind not in ("person", "village"):
        forms["an"] = article(subject)
        forms["A"] = cap(forms["an"])
    return forms
