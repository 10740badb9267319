"""Rollouts: answers sampled from the policy, scored, laid out for PPO (section 3.2.3).

Token in, token out: what was sampled is what is scored and trained on; nothing is decoded in
between. Log-probabilities are recomputed by the trainer, at the sampling temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arriero.inference.generate import Completion
from arriero.model.heads import LanguageModel, ScoreModel, before


@dataclass(frozen=True, slots=True)
class Rollouts:
    """A batch of prompts with one sampled answer each, right padded.

    Attributes:
        tokens: [B, T] prompt and answer; 0 after the end.
        mask: [B, T] True on answer tokens, EOS among them.
        sampler_logprobs: [B, T] what the sampler gave each answer token; 0 elsewhere.
        lengths: [B] answer tokens a row.
    """

    tokens: Tensor
    mask: Tensor
    sampler_logprobs: Tensor
    lengths: Tensor

    def rows(self, chosen: Tensor) -> Rollouts:
        """Some of the rows, cut to the longest of them; of none, a row without an answer.

        A model in shares computes on all processes or none, and goes through that row where one of
        them has nothing to do.
        """
        if not len(chosen):
            nothing = torch.zeros(1, 1)
            return Rollouts(nothing.long(), nothing.bool(), nothing, nothing[0].long())
        width = int((self.mask[chosen].int() * torch.arange(1, self.mask.shape[1] + 1)).max())
        return Rollouts(
            self.tokens[chosen, :width],
            self.mask[chosen, :width],
            self.sampler_logprobs[chosen, :width],
            self.lengths[chosen],
        )


def lay_out(prompts: Sequence[Sequence[int]], completions: Sequence[Completion]) -> Rollouts:
    """Put prompts and their answers into one padded batch, on the CPU."""
    num_rows = len(prompts)
    widths = [len(p) + len(c.tokens) for p, c in zip(prompts, completions, strict=True)]
    tokens = torch.zeros(num_rows, max(widths), dtype=torch.int64)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    logprobs = torch.zeros(tokens.shape)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        begin, end = len(prompt), widths[row]
        tokens[row, :end] = torch.tensor([*prompt, *completion.tokens])
        mask[row, begin:end] = True
        logprobs[row, begin:end] = torch.tensor(completion.logprobs)
    return Rollouts(tokens, mask, logprobs, mask.sum(1))


def answer_logprobs(model: LanguageModel, rollouts: Rollouts, temperature: float) -> Tensor:
    """Log-probability of each answer token: [B, T], 0 outside the mask.

    Only the positions that predict an answer token go through the language head.
    """
    tokens, mask = _on(model.lm_head.weight.device, rollouts)
    return _spread_out(model.token_logprobs(tokens, mask, temperature), mask)


@torch.no_grad()
def answer_logprobs_and_entropy(
    model: LanguageModel, rollouts: Rollouts, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `answer_logprobs`, with the distribution's entropy at each answer token; no gradient.

    Returns:
        Two tensors [B, T], 0 outside the mask: log-probabilities and entropies, in nats.
    """
    tokens, mask = _on(model.lm_head.weight.device, rollouts)
    logprobs, spread = model.token_logprobs_and_entropy(tokens, mask, temperature)
    return _spread_out(logprobs, mask), _spread_out(spread, mask)


def answer_values(critic: ScoreModel, rollouts: Rollouts) -> Tensor:
    """The critic's value before each answer token is chosen: [B, T], 0 outside the mask."""
    tokens, mask = _on(critic.score.weight.device, rollouts)
    seen, places = before(tokens, mask)
    return _spread_out(critic(seen, wanted=places), mask)


def _on(device: torch.device, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    return rollouts.tokens.to(device), rollouts.mask.to(device)


def _spread_out(values: Tensor, mask: Tensor) -> Tensor:
    """Values [N] at the masked places of [B, T], row after row; 0 elsewhere."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
