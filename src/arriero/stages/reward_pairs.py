"""Comparisons as ids, and what a reward model loses on them (Eq. 2, A.3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arriero.data.pairs import pack_pairs, packed_length
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

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model: what both sides share once, and the rest of each."""
        return packed_length(self.chosen, self.rejected)


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


def pair_scores(model: ScoreModel, batch: Sequence[EncodedPair], device: torch.device) -> Tensor:
    """Raw scores [2, N], float32, of the chosen and the rejected responses."""
    packed = pack_pairs([(pair.chosen, pair.rejected) for pair in batch])
    scores = model(
        packed.tokens.to(device),
        positions=packed.positions.to(device),
        segments=packed.segments.to(device),
        skips=packed.skips.to(device),
    )
    return scores.flatten()[packed.last.to(device)]


def pair_loss_sum(
    model: ScoreModel,
    batch: Sequence[EncodedPair],
    margins: Mapping[Rating | None, float],
    safety_weight: float,
    device: torch.device,
) -> Tensor:
    """Summed ranking loss of the pairs, plus the weighted safety loss of their responses."""
    chosen, rejected = scores = pair_scores(model, batch, device)
    margin = torch.tensor([margins[pair.row.rating] for pair in batch], device=device)
    total = ranking_loss(chosen, rejected, margin).sum()
    if safety_weight:
        labels = [pair.row.chosen_is_safe for pair in batch]
        labels += [pair.row.rejected_is_safe for pair in batch]
        known = torch.tensor([label is not None for label in labels], device=device)
        is_safe = torch.tensor([bool(label) for label in labels], device=device)
        total = total + safety_weight * safety_loss(scores.flatten(), is_safe, known).sum()
    return total
