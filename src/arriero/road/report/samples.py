"""Turns the sample items that stages write into samples for the page, whatever keys they have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from arriero.road.report.blocks import Answer, Sample
from arriero.road.report.folder import Json, items, mapping, mappings, number, text
from arriero.road.report.wording import decimal, plain

# The keys under which stages write answers, and who is named above them.
_ANSWER_KEYS = {
    "text": "continuation",
    "answer": "answer",
    "chosen": "chosen",
    "rejected": "rejected",
    "best": "best",
    "worst": "worst",
    "start": "before",
    "before": "before",
    "after": "after",
}
_TAG_KEYS = ("track", "category", "rating", "set", "temperature")
# Words in a grade's label and what they mean for its colour, tested in this order.
_TONES = (
    ("bad", ("harm", "violat", "wrong", "topic", "unsafe", "babble", "false", "empty")),
    ("fair", ("refus", "preach", "curt", "long", "incomplete", "partial", "mixed", "half")),
    ("fair", ("warning", "dont know", "unhelpful")),
    ("good", ("helpful", "right", "plain", "safe", "good", "correct")),
)


def tone(label: str) -> str:
    """`good`, `fair`, `bad`, or `plain` if the label's words say nothing."""
    words = plain(label).lower()
    for found, parts in _TONES:
        if any(re.search(rf"\b{part}", words) for part in parts):
            return found
    return "plain"


def read_samples(value: object) -> list[Sample]:
    """Samples of a stage's list, such as `{"prompt", "best", "best_score", ...}`."""
    samples = (_read_sample(item) for item in mappings(value))
    return [sample for sample in samples if sample.answers]


def _read_sample(item: Json) -> Sample:
    answers = [
        Answer(who, text(item[key]), _score_badges(item, key), _role(key))
        for key, who in _ANSWER_KEYS.items()
        if key in item
    ]
    tags = [plain(text(item[key])) for key in _TAG_KEYS if item.get(key) not in (None, "")]
    prompt = read_prompt(item.get("prompt"))
    if "text" in item and isinstance(item.get("prompt"), str):
        prompt = [("beginning", said) for _, said in prompt]  # a base model has no turns
    return Sample(prompt, answers, tags)


def _role(key: str) -> str:
    if key in ("chosen", "best", "after"):
        return "blue"
    return "vermilion" if key in ("rejected", "worst") else "grey"


def _score_badges(item: Json, key: str) -> list[tuple[str, str]]:
    score = number(item.get(f"{key}_score"))
    if score is None and key in ("answer", "text"):
        score = number(item.get("score"))
    return [] if score is None else [(f"reward {decimal(score)}", "plain")]


def in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """One of each kind (its first tag) in turn, so that the first few show every kind."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(next(iter(sample.tags), ""), []).append(sample)
    rounds = zip_longest(*groups.values())
    return [sample for members in rounds for sample in members if sample is not None]


def read_prompt(value: object) -> list[tuple[str, str]]:
    """(role, text) of each message; a plain string is the user's."""
    if isinstance(value, str):
        return [("user", value)]
    messages = [
        (text(message.get("role")) or "user", text(message.get("content")))
        for message in mappings(value)
    ]
    return messages or [("user", text(part)) for part in items(value) if isinstance(part, str)]


def read_dialogs(value: object, versions: Sequence[str], roles: Sequence[str]) -> list[Sample]:
    """The evaluation's dialogues: one answer a version, in the order of the versions."""
    samples: list[Sample] = []
    for dialog in mappings(value):
        answers = mapping(dialog.get("answers"))
        found = [
            _version_answer(version, mapping(answers[version]), role)
            for version, role in zip(versions, roles, strict=True)
            if version in answers
        ]
        tags = [plain(text(dialog[key])) for key in ("set", "category") if dialog.get(key)]
        if found:
            samples.append(Sample(read_prompt(dialog.get("prompt")), found, tags))
    return samples


def _version_answer(version: str, answer: Json, role: str) -> Answer:
    badges: list[tuple[str, str]] = []
    if label := text(answer.get("label")):
        badges.append((plain(label), tone(label)))
    for key in ("helpfulness", "safety"):
        score = number(answer.get(key))
        if score is not None:
            badges.append((f"{key} {score:.2f}", "plain"))
    return Answer(version, text(answer.get("text")), badges, role)
