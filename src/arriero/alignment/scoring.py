"""Scores of whole answers by the two reward models (sections 3.2.2 and 3.2.3).

A sequence is read at its own last token, found by its length, so a score depends neither on the
batch it was computed in nor on a pad id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arriero.data.packing import PackedBatch, pack
from arriero.equations.reward import composite_score
from arriero.inference.batches import batches, padded
from arriero.model.heads import ScoreModel, last_token_scores
from arriero.model.weights import load_score_model
from arriero.records import UserError
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

_SHORTEST_ROW = 128


def packed_scores(model: ScoreModel, batch: PackedBatch, device: torch.device) -> Tensor:
    """The raw score at the last token of each packed sequence, [N] float32 in input order."""
    scores = model(
        batch.tokens.to(device),
        positions=batch.positions.to(device),
        segments=batch.segments.to(device),
    )
    return scores.flatten()[batch.last.to(device)]


@torch.inference_mode()
def score_sequences(model: ScoreModel, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Raw scores [N], on the CPU, of prompt-and-answer id sequences.

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
    score_of: dict[tuple[int, ...], float] = {}
    for part in batches([len(sequence) for sequence in different], device):
        tokens, lengths = padded(different[part])
        scores = last_token_scores(model(tokens.to(device)).cpu(), lengths)
        score_of |= zip(different[part], scores.tolist(), strict=True)
    return torch.tensor([score_of[tuple(sequence)] for sequence in sequences])


def pack_scored(sequences: Sequence[Sequence[int]]) -> PackedBatch:
    """Pack sequences for scoring, in rows no wider than they need to be."""
    longest = max(len(sequence) for sequence in sequences)
    return pack(sequences, row_length=max(_SHORTEST_ROW, longest))


@dataclass(frozen=True)
class RewardModels:
    """The helpfulness and the safety model, which score together."""

    helpfulness: ScoreModel
    safety: ScoreModel

    @classmethod
    def load(
        cls, helpfulness: Path, safety: Path, tokenizer: Tokenizer, device: torch.device
    ) -> RewardModels:
        """Both models, checked to speak the policy's tokens.

        Raises:
            UserError: a folder is no reward model, or its tokenizer is another one.
        """
        for folder in (helpfulness, safety):
            if load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
                raise UserError(
                    f"{folder}: its tokenizer is not the policy's; train both on one tokenizer"
                )
        return cls(load_score_model(helpfulness).to(device), load_score_model(safety).to(device))

    def score(
        self, sequences: Sequence[Sequence[int]], is_safety_prompt: Tensor
    ) -> CompositeScores:
        """Raw scores [N] of both models and their composite (section 3.2.3)."""
        helpfulness = score_sequences(self.helpfulness, sequences)
        safety = score_sequences(self.safety, sequences)
        return CompositeScores(
            helpfulness, safety, composite_score(helpfulness, safety, is_safety_prompt)
        )


@dataclass(frozen=True)
class CompositeScores:
    """Raw scores [N] each: of the helpfulness model, the safety model, and what counts."""

    helpfulness: Tensor
    safety: Tensor
    composite: Tensor
