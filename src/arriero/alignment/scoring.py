"""Scores of whole answers by the two reward models (sections 3.2.2 and 3.2.3).

A sequence is read at its own last token, found by its length, so a score depends neither on the
batch it was computed in nor on a pad id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from arriero.equations.reward import composite_score
from arriero.inference.batches import dealt, padded
from arriero.model.heads import ScoreModel, last_places
from arriero.model.weights import load_score_model
from arriero.records import UserError
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer


class Shares(Protocol):
    """Processes that score together, each its share; training.ranks has one for a real job."""

    @property
    def dp_rank(self) -> int:
        """Number of this process' share."""
        ...

    @property
    def dp_size(self) -> int:
        """Shares."""
        ...

    def sums(self, values: list[float]) -> list[float]:
        """Each value added up over the shares."""
        ...


@dataclass(frozen=True, slots=True)
class _Alone:
    dp_rank: int = 0
    dp_size: int = 1

    def sums(self, values: list[float]) -> list[float]:
        return values


_ALONE = _Alone()


@torch.no_grad()
def score_sequences(
    model: ScoreModel, sequences: Sequence[Sequence[int]], shares: Shares = _ALONE
) -> Tensor:
    """Raw scores [N], on the CPU, of prompt-and-answer id sequences.

    Args:
        shares: who scores; all call this with the same sequences, and all get the whole result.

    Raises:
        UserError: a sequence is longer than the model's context.
    """
    longest = max((len(sequence) for sequence in sequences), default=0)
    if longest > model.config.context:
        raise UserError(
            f"a dialog has {longest} tokens, the reward model's context is {model.config.context}"
        )
    device = model.score.weight.device
    # Of K samples of a prompt many are the same: each is scored once, similar lengths together.
    different = sorted({tuple(sequence) for sequence in sequences}, key=lambda ids: (len(ids), ids))
    found = [0.0] * len(different)
    lengths = [len(sequence) for sequence in different]
    for part in dealt(lengths, device, shares.dp_rank, shares.dp_size):
        # A model in shares computes on all processes or none: a batch that is empty has one row.
        tokens, counts = padded([different[place] for place in part] or [(0,)])
        ends = last_places(counts, tokens.shape[1])
        scores = model(tokens.to(device), wanted=ends.to(device))
        for place, score in zip(part, scores.tolist(), strict=bool(part)):
            found[place] = score
    score_of = dict(zip(different, shares.sums(found), strict=True))
    return torch.tensor([score_of[tuple(sequence)] for sequence in sequences])


def same_tokens(folder: Path, tokenizer: Tokenizer) -> None:
    """Check that a reward model speaks the policy's tokens.

    Raises:
        UserError: its tokenizer is another one.
    """
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
        raise UserError(f"{folder}: its tokenizer is not the policy's; train both on one tokenizer")


@dataclass(frozen=True)
class RewardModels:
    """The helpfulness and the safety model, which score together."""

    helpfulness: ScoreModel
    safety: ScoreModel

    @classmethod
    def load(
        cls, helpfulness: Path, safety: Path, tokenizer: Tokenizer, device: torch.device
    ) -> RewardModels:
        """Both models whole; as `read`."""
        return cls.read(helpfulness, safety, tokenizer, lambda f: load_score_model(f).to(device))

    @classmethod
    def read(
        cls,
        helpfulness: Path,
        safety: Path,
        tokenizer: Tokenizer,
        model_of: Callable[[Path], ScoreModel],
    ) -> RewardModels:
        """Both models by way of `model_of`, checked to speak the policy's tokens.

        Raises:
            UserError: a folder is no reward model, or its tokenizer is another one.
        """
        for folder in (helpfulness, safety):
            same_tokens(folder, tokenizer)
        return cls(model_of(helpfulness), model_of(safety))

    def score(
        self,
        sequences: Sequence[Sequence[int]],
        is_safety_prompt: Tensor,
        shares: Shares = _ALONE,
    ) -> CompositeScores:
        """Raw scores [N] of both models and their composite (section 3.2.3)."""
        helpfulness = score_sequences(self.helpfulness, sequences, shares)
        safety = score_sequences(self.safety, sequences, shares)
        return CompositeScores(
            helpfulness, safety, composite_score(helpfulness, safety, is_safety_prompt)
        )


@dataclass(frozen=True)
class CompositeScores:
    """Raw scores [N] each: of the helpfulness model, the safety model, and what counts."""

    helpfulness: Tensor
    safety: Tensor
    composite: Tensor
