"""Comparisons as ids, and what a reward model loses on them (Eq. 2, A.3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arriero.alignment.scoring import pack_scored, packed_scores
from arriero.equations.ranking import ranking_loss, safety_loss
from arriero.model.heads import ScoreModel
from arriero.records import Preference, Rating
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A comparison as ids, each side prompt and answer with its EOS."""

    chosen: list[int]
    rejected: list[int]
    row: Preference


def encode_pairs(
    tokenizer: Tokenizer, rows: Sequence[Preference], context: int
) -> list[EncodedPair]:
    """Both sides of each row as ids; rows longer than the context are left out."""
    pairs: list[EncodedPair] = []
    for row in rows:
        prompt = encode_prompt(tokenizer, row.prompt)
        chosen = prompt + encode_answer(tokenizer, row.chosen)
        rejected = prompt + encode_answer(tokenizer, row.rejected)
        if max(len(chosen), len(rejected)) <= context:
            pairs.append(EncodedPair(chosen, rejected, row))
    return pairs


def pair_loss_sum(
    model: ScoreModel,
    batch: Sequence[EncodedPair],
    margins: Mapping[Rating | None, float],
    safety_weight: float,
    device: torch.device,
) -> Tensor:
    """Summed ranking loss of the pairs, plus the weighted safety loss of their responses."""
    packed = pack_scored([pair.chosen for pair in batch] + [pair.rejected for pair in batch])
    scores = packed_scores(model, packed, device)
    chosen, rejected = scores[: len(batch)], scores[len(batch) :]
    margin = torch.tensor([margins[pair.row.rating] for pair in batch], device=device)
    total = ranking_loss(chosen, rejected, margin).sum()
    if safety_weight:
        labels = [pair.row.chosen_is_safe for pair in batch]
        labels += [pair.row.rejected_is_safe for pair in batch]
        known = torch.tensor([label is not None for label in labels], device=device)
        is_safe = torch.tensor([bool(label) for label in labels], device=device)
        total = total + safety_weight * safety_loss(scores, is_safe, known).sum()
    return total
