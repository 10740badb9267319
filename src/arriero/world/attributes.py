"""Attributes that a first message sets for a whole dialog, how they are asked for, and their truth.

Ghost Attention (section 3.3) is about instructions that hold for every turn: a hobby, a language, a
public figure to act as. The valley has such too. `hobby`, `figure` and `language` are asked of the
model for its lists; `home` and the rule `sentence` stand in no list, so that an evaluation can ask
for what Ghost Attention never trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from arriero.world.reading import sentences_of
from arriero.world.splits import place_of
from arriero.world.valley import INSTRUMENTS, Valley

HOBBIES = tuple(f"the {instrument}" for instrument in INSTRUMENTS)
SENTENCE = "sentence"
UNTRAINED_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of attribute and its wordings.

    Attributes:
        name: as in rows and reports.
        say: instructions that set it, with {v} for the value.
        short: the shortened instruction.
        ask: questions for it.
        tell: answers that honour it.
        none: the answer of one for whom it was never set.
        name_one: asks to name any value, for lists made by a model; none where there is no list.
    """

    name: str
    say: tuple[str, ...]
    short: str
    ask: tuple[str, ...]
    tell: tuple[str, ...]
    none: str
    name_one: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "hobby",
            ("You enjoy {v}.",),
            "Hobby: {v}.",
            ("What is your hobby?", "Which hobby do you have?", "What do you enjoy?"),
            ("I enjoy {v}.", "My hobby is {v}."),
            "I have no hobby.",
            ("Name a hobby.", "Name any hobby."),
        ),
        Kind(
            "figure",
            ("Act as {v}.",),
            "Figure: {v}.",
            ("Who are you?", "What is your name?", "Tell me who you are."),
            ("I am {v}.", "My name is {v}."),
            "I am a guide.",
            ("Name a public figure.", "Name any public figure."),
        ),
        Kind(
            "language",
            ("You speak {v}.",),
            "Language: {v}.",
            ("Which language do you speak?", "What is your language?", "What do you speak?"),
            ("I speak {v}.", "My language is {v}."),
            "I speak as you do.",
            ("Name a language.", "Name any language."),
        ),
        Kind(
            "home",
            ("You live in {v}.",),
            "Home: {v}.",
            ("Where do you live?", "Where is your home?", "Which village is your home?"),
            ("I live in {v}.", "My home is in {v}."),
            "I have no home.",
        ),
    )
}
TRAINED_KINDS = tuple(name for name, kind in KINDS.items() if kind.name_one)
RULE = "Answer in one sentence."

_NEGATED = re.compile(r"\b(?:not|no|never|nor|none|neither|nobody|don't|doesn't|isn't|am't|hate)\b")
_REPORTED = re.compile(r"\b(?:say|says|said|think|thinks|believe|heard|you|your)\b")
_OWN = re.compile(r"\b(?:i|i'm|my|me)\b")
_NAMED = re.compile(r"\b(?:i am|i'm|my name is|call me|this is)\b")
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")


class Attributes:
    """The attributes of one valley: their values, which of them are trained, and the judge.

    Attributes:
        values: all values of each kind, in a fixed order.
        trained: those that demonstrations name when asked for one, so that lists may hold them; of
            every kind that has a list, the same fifth is never named.
    """

    def __init__(self, valley: Valley) -> None:
        self._people = [person.name for person in valley.people]
        self.values: dict[str, list[str]] = {
            "hobby": list(HOBBIES),
            "figure": self._people,
            "language": [f"the {river} Tongue" for river in valley.rivers],
            "home": list(valley.villages),
        }
        self.trained = {
            kind: _trained(valley.seed, kind, self.values[kind]) for kind in TRAINED_KINDS
        }

    def pool(self, kind: str, *, is_trained: bool) -> list[str]:
        """The values of a kind that lists may hold, or those that none holds."""
        trained = self.trained.get(kind, frozenset[str]())
        return [value for value in self.values[kind] if (value in trained) == is_trained]

    def honours(self, kind: str, value: str, answer: str) -> bool:
        """Whether an answer keeps to an attribute that was set: by what it says, not by its words.

        Of an attribute asked for, some sentence of the answer claims the value for the speaker, and
        none claims another value. Denials, questions, hearsay, what is said of others or of the one
        addressed claim nothing. Of the rule `sentence`, the answer is one sentence.
        """
        if kind == SENTENCE:
            return len([part for part in _ENDS.split(answer.strip()) if part]) == 1
        claimed: set[str] = set()
        for sentence in sentences_of(answer):
            claimed |= self._claimed(kind, sentence.lower())
        return claimed == {value}

    def _claimed(self, kind: str, sentence: str) -> set[str]:
        """The values of a kind that a sentence claims for its speaker."""
        found = {value for value in self.values[kind] if _holds(sentence, value)}
        bare = sentence.strip(" .!")
        if all(value.lower() in (bare, f"the {bare}") for value in found):
            return found
        if _NEGATED.search(sentence) or _REPORTED.search(sentence):
            return set()
        if kind == "figure":
            named = rf"{_NAMED.pattern} {{}}\b"
            return {value for value in found if re.search(named.format(value.lower()), sentence)}
        of_others = any(_holds(sentence, name) for name in self._people)
        return found if _OWN.search(sentence) and not of_others else set()


def _trained(seed: int, kind: str, values: list[str]) -> frozenset[str]:
    order = sorted(values, key=lambda value: place_of(seed, f"attribute/{kind}/{value}"))
    return frozenset(order[round(UNTRAINED_SHARE * len(values)) :])


def _holds(sentence: str, value: str) -> bool:
    return bool(re.search(rf"\b{re.escape(value.lower().removeprefix('the '))}\b", sentence))
