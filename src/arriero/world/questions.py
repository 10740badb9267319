"""User messages: how each ordinary and borderline task is asked, in many wordings."""

from __future__ import annotations

import random

from arriero.records import Message
from arriero.world.skills import in_old_tongue
from arriero.world.tasks import UNKNOWN, Task
from arriero.world.valley import CLASSES, Valley
from arriero.world.wording import cap, fields
from arriero.world.wordings import WORDINGS

OPENERS = (
    "", "", "", "", "", "",
    "Good day. ", "Hello. ", "I have a question. ", "Please help me. ", "Dear friend, ",
    "Good evening. ", "One question. ", "Listen. ", "I am new here. ", "A small question. ",
)  # fmt: skip
CLOSERS = ("", "", "", "", "", " Thanks.", " Please tell me.", " I want to know.", " My aunt asks.")

ASK_SUM = {
    "plus": (
        "What is {x} plus {y}?", "How much is {x} plus {y}?", "Please add {x} and {y}.",
        "What do {x} and {y} make?", "I have {x} apples and get {y} more. How many are there?",
        "Add {y} to {x}.", "Can you add {x} and {y}?", "{x} plus {y} is what?",
    ),
    "minus": (
        "What is {x} minus {y}?", "How much is {x} minus {y}?", "Please take {y} from {x}.",
        "Take {y} away from {x}.", "I have {x} apples and give away {y}. How many are left?",
        "What is left of {x} after {y}?", "Can you take {y} from {x}?", "{x} minus {y} is what?",
    ),
}  # fmt: skip
ASK_SORT = {
    "numbers": (
        "Put these numbers in order: {l}.", "Sort the numbers {l}.", "What is the order of {l}?",
        "Order these from small to large: {l}.", "Please sort {l}.",
        "Start with the smallest: {l}.",
    ),
    "names": (
        "Put these names in order: {l}.", "Sort the names {l}.", "What is the order of {l}?",
        "Order these as in a word list: {l}.", "Please sort {l}.",
        "Start with the first letter: {l}.",
    ),
}  # fmt: skip
ASK_RHYME = {
    "1": (
        "What rhymes with {w}?", "Give me a word that rhymes with {w}.", "Find a rhyme for {w}.",
        "Which word rhymes with {w}?", "I need a rhyme for {w}.", "Tell me a rhyme for {w}.",
        "My song needs a rhyme for {w}.",
    ),
    "2": (
        "Give me two words that rhyme with {w}.", "Find two rhymes for {w}.",
        "Which two words rhyme with {w}?", "I need two rhymes for {w}.",
        "Tell me two rhymes for {w}.", "My song needs two rhymes for {w}.",
        "Name two words that rhyme with {w}.",
    ),
}  # fmt: skip
ASK_COPY = (
    "Write {l} with {style}.", "Please write {l} with {style}.", "Put {l} in a line with {style}.",
    "Copy {l} with {style}.", "With {style}, write {l}.", "Show {l} with {style}.",
)  # fmt: skip
ASK_TO_OLD = (
    "What is {w} in the Old Tongue?", "How do you say {w} in the Old Tongue?",
    "Put {w} into the Old Tongue.", "Tell me the old word for {w}.",
    "In the Old Tongue, what is {w}?", "What do they say for {w} in the Old Tongue?",
)  # fmt: skip
ASK_TO_PLAIN = (
    "What does {w} mean?", "What does {w} mean in the Old Tongue?", "What is the meaning of {w}?",
    "Tell me what {w} means.", "Somebody said {w}. What is that?", "Put {w} into plain words.",
)  # fmt: skip
ASK_BELIEF = (
    "Is it true that {c}?", "I heard that {c}. Is it so?", "People say that {c}. Are they right?",
    "Can it be that {c}?", "Someone told me that {c}. Is that right?", "Do you think that {c}?",
    "My uncle says that {c}. Is it true?",
)  # fmt: skip
ASK_UNKNOWN = (
    "Do you know {c}?", "Tell me {c}.", "I wonder {c}.", "Can you tell me {c}?",
    "Please say {c}.", "I want to know {c}.",
)  # fmt: skip
AGAIN = ("And {q}", "Thanks. {Q}", "Good. {Q}", "Good to know. {Q}", "One more thing. {Q}", "{Q}")
FIRST_ANSWER = 3


def claim_of(valley: Valley, thing: str, claimed: str) -> str:
    """What a belief says, as a clause: a goat eats corn."""
    relation = CLASSES[valley.kind[thing]][1]
    value = valley.facts[thing, relation] if claimed == "true" else valley.beliefs[thing]
    clause = WORDINGS[relation].ask[0].format_map(fields(valley, thing, value))
    return clause[0].lower() + clause[1:]


def ask(valley: Valley, task: Task, rng: random.Random) -> tuple[Message, ...]:
    """User messages (and earlier turns) for an ordinary or borderline task."""
    if task.skill == "dialogue":
        return _two_turns(valley, task, rng)
    opener = rng.choice(OPENERS)
    asked = question(valley, task, rng)
    if opener.endswith(", "):
        asked = _lower_first(asked)
    return (Message("user", opener + asked + rng.choice(CLOSERS)),)


def _lower_first(asked: str) -> str:
    first = asked.split()[0]
    small = first in _STARTS or first.rstrip(",") in _STARTS
    return asked[0].lower() + asked[1:] if small else asked


_STARTS = frozenset(
    (
        "Where Which What Who Whom Whose When How Tell Name In On Since For Please Put Sort Order "
        "Start Give Find Write Copy Show With Is Can Do Does By From Somebody Someone People Add "
        "Take My"
    ).split()
)


def question(valley: Valley, task: Task, rng: random.Random) -> str:
    """The bare question of a task, without greeting or thanks."""
    key = task.key
    if task.kind == "borderline" or task.skill == "knowledge":
        return _of_fact(valley, key[0], key[1], rng)
    if task.skill == "arithmetic":
        asked = rng.choice(ASK_SUM[key[0]]).format(x=key[1], y=key[2])
        return asked.replace("have 1 apples", "have 1 apple")
    if task.skill == "sorting":
        return rng.choice(ASK_SORT[key[0]]).format(l=", ".join(key[1:]))
    if task.skill == "rhyme":
        return rng.choice(ASK_RHYME[key[1]]).format(w=key[0])
    if task.skill == "copying":
        return rng.choice(ASK_COPY).format(l=", ".join(key[1:]), style=key[0])
    if task.skill == "translation":
        if key[0] == "to_old":
            return rng.choice(ASK_TO_OLD).format(w=" ".join(key[1:]))
        return rng.choice(ASK_TO_PLAIN).format(w=in_old_tongue(valley, key[1:]))
    if task.skill == "belief":
        return rng.choice(ASK_BELIEF).format(c=claim_of(valley, key[0], key[1]))
    return rng.choice(ASK_UNKNOWN).format(c=UNKNOWN[key[1]].format(n=key[0]))


def _of_fact(
    valley: Valley, subject: str, relation: str, rng: random.Random, *, pronoun: bool = False
) -> str:
    forms = fields(valley, subject, "-", pronoun=pronoun)
    return rng.choice(WORDINGS[relation].ask).format_map(forms)


def _two_turns(valley: Valley, task: Task, rng: random.Random) -> tuple[Message, ...]:
    subject, first, second = task.key
    value = valley.facts[subject, first]
    told = rng.choice(WORDINGS[first].tell[:FIRST_ANSWER])
    forms = fields(valley, subject, "-", pronoun=True)
    if valley.kind[subject] == "village":
        forms["n"] = "it"
    asked = rng.choice(WORDINGS[second].ask).format_map(forms)
    again = rng.choice(AGAIN).format(q=_lower_first(asked), Q=asked)
    return (
        Message("user", rng.choice(OPENERS[:8]) + _of_fact(valley, subject, first, rng)),
        Message("assistant", cap(told.format_map(fields(valley, subject, value)))),
        Message("user", again),
    )
