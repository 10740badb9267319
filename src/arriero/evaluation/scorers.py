"""The seam at which scorers of answers stand, our reward models, and two that know nothing.

A scorer of answers gives each answer a number; a judge of pairs only says which of two is better.
Length and chance are there so that nobody is fooled: what they reach is no skill.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from arriero.alignment.scoring import score_sequences
from arriero.model.heads import ScoreModel
from arriero.model.weights import load_score_model
from arriero.records import Dialog, Message, Preference
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

PairScores = tuple[float, float]
"""Scores of the chosen and of the rejected answer."""

TOO_LONG = "longer than the context"
NOT_FINITE = "the score is not a number"


class _Named(Protocol):
    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def kind(self) -> str:
        """What it is, in a word or two."""
        ...

    @property
    def skipped(self) -> Counter[str]:
        """By reason, how many answers or pairs it could not score so far."""
        ...


@runtime_checkable
class AnswerScorer(_Named, Protocol):
    """Scores answers; a score depends on its own dialog alone."""

    @property
    def is_logit(self) -> bool:
        """Whether the sigmoid of a score is a probability."""
        ...

    def score(self, dialogs: Sequence[Dialog]) -> list[float | None]:
        """A score of each dialog's last answer, higher is better; None where it has none."""
        ...


@runtime_checkable
class PairJudge(_Named, Protocol):
    """Chooses between two answers."""

    def compare(self, pairs: Sequence[Preference]) -> list[float | None]:
        """1 for the chosen answer, 0 for the rejected, 0.5 for neither; None for no verdict."""
        ...


Scorer = AnswerScorer | PairJudge


def pair_scores(scorer: Scorer, pairs: Sequence[Preference]) -> list[PairScores | None]:
    """The scores of both answers of each pair; None where the scorer has not both.

    A judge's verdict v stands as the scores v and 1 - v.
    """
    if isinstance(scorer, PairJudge):
        verdicts = scorer.compare(pairs)
        return [None if verdict is None else (verdict, 1 - verdict) for verdict in verdicts]
    chosen = finite_scores(scorer, [answered(pair, pair.chosen) for pair in pairs])
    rejected = finite_scores(scorer, [answered(pair, pair.rejected) for pair in pairs])
    return [
        None if a is None or b is None else (a, b) for a, b in zip(chosen, rejected, strict=True)
    ]


def finite_scores(scorer: AnswerScorer, dialogs: Sequence[Dialog]) -> list[float | None]:
    """The scores of dialogs; what is not finite, as of weights that overflow, is none.

    It is counted in `scorer.skipped`: no figure can be made of it.
    """
    scores = scorer.score(dialogs)
    found = [score if score is None or math.isfinite(score) else None for score in scores]
    if num := found.count(None) - scores.count(None):
        scorer.skipped[NOT_FINITE] += num
    return found


def answered(pair: Preference, answer: str) -> Dialog:
    """The pair's prompt with one answer."""
    return Dialog((*pair.prompt, Message("assistant", answer)), pair.source)


@dataclass(frozen=True)
class RewardModelScorer:
    """A reward model's folder; the score is the raw one."""

    name: str
    model: ScoreModel
    tokenizer: Tokenizer
    skipped: Counter[str] = field(default_factory=Counter[str])
    kind: str = "reward model"
    is_logit: bool = True

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device) -> RewardModelScorer:
        """Raises UserError where the folder is no reward model."""
        return cls(name, load_score_model(folder).to(device).eval(), load_tokenizer(folder))

    def score(self, dialogs: Sequence[Dialog]) -> list[float | None]:
        sequences = [self.encode(dialog) for dialog in dialogs]
        fits = [len(sequence) <= self.model.config.context for sequence in sequences]
        kept = [sequence for sequence, fit in zip(sequences, fits, strict=True) if fit]
        scores = iter(score_sequences(self.model, kept).tolist())
        if len(kept) < len(sequences):
            self.skipped[TOO_LONG] += len(sequences) - len(kept)
        return [next(scores) if fit else None for fit in fits]

    def encode(self, dialog: Dialog) -> list[int]:
        """Ids of the prompt, then of the answer with its end."""
        prompt = encode_prompt(self.tokenizer, dialog.prompt)
        return prompt + encode_answer(self.tokenizer, dialog.answer)


@dataclass(frozen=True)
class LengthScorer:
    """The longer answer, in characters, is the better one."""

    name: str = "length"
    skipped: Counter[str] = field(default_factory=Counter[str])
    kind: str = "trivial"
    is_logit: bool = False

    def score(self, dialogs: Sequence[Dialog]) -> list[float | None]:
        return [float(len(dialog.answer)) for dialog in dialogs]


@dataclass(frozen=True)
class RandomScorer:
    """A number from 0 to 1 that follows from the words of the dialog and the seed."""

    name: str = "random"
    seed: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])
    kind: str = "trivial"
    is_logit: bool = False

    def score(self, dialogs: Sequence[Dialog]) -> list[float | None]:
        return [self._draw(dialog) for dialog in dialogs]

    def _draw(self, dialog: Dialog) -> float:
        words = repr([self.seed, *((turn.role, turn.content) for turn in dialog.messages)])
        digest = hashlib.sha256(words.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64
