"""Ghost Attention (section 3.3): dialogs that keep to an instruction which their turns drop.

An instruction stands before every user message while the answer is sampled, and before the first
one alone when it is learned. The answers between were given without it, or with what is no longer
there, so they carry no loss: only the last answer does. Instructions are combined at random from
lists that the model itself made, and half of them are shortened (A.3.5).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from arriero.records import Dialog, Message

_ENDS = re.compile(r"^[\s\"'*\-\d.)]*|[\s\"'.!*]*$")


@dataclass(frozen=True, slots=True)
class Wording:
    """How one kind of constraint is said; `{}` stands for its value.

    Attributes:
        say: the instruction, such as `Act as {}.`
        short: the shortened one, such as `Figure: {}.`
    """

    say: str
    short: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a dialog has to keep to: its words, and the values that it sets by kind."""

    text: str
    values: Mapping[str, str]


def listed(answers: Iterable[str], *, least: int = 2, most_words: int = 4) -> list[str]:
    """The distinct values that a model named, the most frequent first.

    Taken are short answers on one line, of letters, without their number, quotes and end mark.

    Args:
        answers: to a question such as `Name a hobby.`, sampled many times.
        least: how often a value has to come, so that one slip of the model is no value.
        most_words: longer answers are talk.

    >>> listed(["Chess.", "chess", "Chess", "I do not know what to say.", "1. Tennis", "Tennis!"])
    ['Chess', 'Tennis']
    """
    spellings: dict[str, Counter[str]] = {}
    for answer in answers:
        value = _ENDS.sub("", answer.strip())
        if _is_value(value, most_words):
            spellings.setdefault(value.casefold(), Counter())[value] += 1
    counts = {folded: sum(found.values()) for folded, found in spellings.items()}
    kept = [folded for folded in counts if counts[folded] >= least]
    return [
        spellings[folded].most_common(1)[0][0]
        for folded in sorted(kept, key=lambda one: (-counts[one], one))
    ]


def _is_value(value: str, most_words: int) -> bool:
    words = value.split(" ")
    return 0 < len(words) <= most_words and all(
        any(letter.isalpha() for letter in word)
        and all(letter.isalpha() or letter in "-'." for letter in word)
        for word in words
    )


def combined(
    lists: Mapping[str, Sequence[str]],
    wordings: Mapping[str, Wording],
    short_share: float,
    rng: random.Random,
) -> Instruction:
    """An instruction of one kind or several, in random order, shortened in a share of cases.

    Args:
        lists: the values of each kind, none empty.
        wordings: how each kind is said.
        short_share: the paper shortens half of them.
    """
    kinds = rng.sample(sorted(lists), rng.randint(1, len(lists)))
    values = {kind: rng.choice(lists[kind]) for kind in kinds}
    is_short = rng.random() < short_share
    parts = (
        (wordings[kind].short if is_short else wordings[kind].say).replace("{}", value)
        for kind, value in values.items()
    )
    return Instruction(" ".join(parts), values)


def on_every_turn(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """The messages with the instruction before each of the user's: what is sampled from."""
    return tuple(
        _under(message, instruction) if message.role == "user" else message for message in messages
    )


def on_first_turn(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """The messages with the instruction before the first of the user's alone: what is learned."""
    first = next(place for place, message in enumerate(messages) if message.role == "user")
    return tuple(
        _under(message, instruction) if place == first else message
        for place, message in enumerate(messages)
    )


def _under(message: Message, instruction: str) -> Message:
    return replace(message, content=f"{instruction} {message.content}")


def ghost_dialog(
    messages: Sequence[Message], instruction: str, answer: str, *, is_cut: bool = False
) -> Dialog:
    """The dialog that Ghost Attention learns: instruction on the first turn, loss on the answer.

    Args:
        messages: without the instruction, the user's last.
        answer: sampled with the instruction on every turn.
    """
    dialog = Dialog(on_first_turn(messages, instruction), "ghost", last_answer_only=True)
    return dialog.answered(answer, is_cut=is_cut)


def plain_dialog(
    messages: Sequence[Message], instruction: str, answer: str, *, is_cut: bool = False
) -> Dialog:
    """The same dialog as it was sampled: instruction on every turn, loss on every answer.

    What fine-tuning would make of it without Ghost Attention's two steps; its control.
    """
    dialog = Dialog(on_every_turn(messages, instruction), "ghost-control")
    return dialog.answered(answer, is_cut=is_cut)
