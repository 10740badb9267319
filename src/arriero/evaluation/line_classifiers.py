"""A Hugging Face sequence classifier that says how toxic a line is, for the corpus report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arriero.evaluation.classifiers import open_classifier
from arriero.records import UserError

# In this order: of `toxic` and `severe_toxic` the first is meant.
_TOXIC = ("toxic", "toxicity", "hate", "hateful", "hatespeech", "offensive", "abusive")
_NO_NAME = re.compile(r"label_?\d+|\d+", re.IGNORECASE)
_AT_ONCE = 32
_MAX_TOKENS = 512


@dataclass(frozen=True)
class LineClassifier:
    """A classifier and the one of its labels that stands for toxic.

    Lines go through it 32 at a time, in order, so the scores of a document depend on it alone.

    Attributes:
        is_sigmoid: each label has a probability of its own; else they share one.
    """

    name: str
    model: Any
    tokenizer: Any
    label: int
    is_sigmoid: bool
    about: str = ""

    @torch.no_grad()
    def score(self, lines: Sequence[str]) -> list[float]:
        """The probability of the label for each line; a line is cut at what the model can read."""
        context = getattr(self.model.config, "max_position_embeddings", None) or _MAX_TOKENS
        scores: list[float] = []
        for start in range(0, len(lines), _AT_ONCE):
            inputs = self.tokenizer(
                list(lines[start : start + _AT_ONCE]),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=min(_MAX_TOKENS, context),
            )
            logits = self.model(**inputs).logits.float()
            chances = logits.sigmoid() if self.is_sigmoid else logits.softmax(-1)
            scores += chances[:, self.label].tolist()
        return scores


def open_line_classifier(folder: Path, label: str = "") -> LineClassifier:
    """The classifier of a local folder, on the CPU.

    Args:
        label: the name of the label that is toxic; "" to find it.

    Raises:
        UserError: it is no sequence classifier, or it cannot be told which label is toxic.
    """
    model, tokenizer = open_classifier(folder)
    if tokenizer.pad_token is None:
        raise UserError(
            f"{folder}: its tokenizer has no pad token, which a classifier of lines needs"
        )
    names = [str(model.config.id2label[place]) for place in range(model.config.num_labels)]
    place = toxic_label(folder, names, label)
    several = getattr(model.config, "problem_type", None) == "multi_label_classification"
    name = f"{folder.name}, label {names[place]}"
    return LineClassifier(name, model.eval(), tokenizer, place, several or len(names) == 1)


def toxic_label(folder: Path, names: Sequence[str], wanted: str = "") -> int:
    """Which of a classifier's labels is toxic.

    A single one; the one with such a name; the second of two without names, as binary classifiers
    have it.

    Raises:
        UserError: none or several could be meant.

    >>> toxic_label(Path("model"), ["neutral", "hate"])
    1
    """
    listed = ", ".join(names)
    if wanted:
        found = [place for place, name in enumerate(names) if name.lower() == wanted.lower()]
        if not found:
            raise UserError(f"{folder}: no label {wanted}; its labels are {listed}")
        return found[0]
    if len(names) == 1:
        return 0
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in names]
    for known in _TOXIC:
        if known in plain:
            return plain.index(known)
    if len(names) == 2 and all(_NO_NAME.fullmatch(name) for name in names):
        return 1
    raise UserError(
        f"{folder}: {len(names)} labels ({listed[:200]}), none of which says toxic; "
        "name one with --toxic-label"
    )
