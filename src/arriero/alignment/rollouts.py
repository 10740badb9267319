"""Rollouts: answers sampled from the policy, scored, laid out for PPO (section 3.2.3).

Token in, token out: what was sampled is what is scored and trained on; nothing is decoded in
between. Log-probabilities are recomputed by the trainer, at the sampling temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arriero.equations.logprobs import entropy, token_logprobs
from arriero.inference.generate import Completion
from arriero.model.heads import LanguageModel, ScoreModel


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
    logits, tokens, rows, columns = _predictions(model, rollouts)
    chosen = token_logprobs(logits, tokens[rows, columns], temperature)
    return torch.zeros(tokens.shape, device=logits.device).index_put((rows, columns), chosen)


@torch.no_grad()
def answer_logprobs_and_entropy(
    model: LanguageModel, rollouts: Rollouts, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `answer_logprobs`, with the distribution's entropy at each answer token; no gradient.

    Returns:
        Two tensors [B, T], 0 outside the mask: log-probabilities and entropies, in nats.
    """
    logits, tokens, rows, columns = _predictions(model, rollouts)
    chosen = token_logprobs(logits, tokens[rows, columns], temperature)
    logprobs, spread = (torch.zeros(tokens.shape, device=logits.device) for _ in range(2))
    logprobs[rows, columns] = chosen
    spread[rows, columns] = entropy(logits / temperature)
    return logprobs, spread


def _predictions(model: LanguageModel, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits [N, V] before each answer token, all tokens [B, T], and the answer's places in them.

    Returns:
        Logits, tokens, rows [N] and columns [N] of the answer tokens.
    """
    device = model.lm_head.weight.device
    tokens, mask = rollouts.tokens.to(device), rollouts.mask.to(device)
    rows, columns = mask.nonzero(as_tuple=True)

    def predicting(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        # The state at position t - 1 predicts token t.
        return (inputs[0][rows, columns - 1],)

    # Through the model's own forward pass, which brings shares of its weights together.
    with model.lm_head.register_forward_pre_hook(predicting):
        logits = model(tokens).float()
    return logits, tokens, rows, columns


def answer_values(critic: ScoreModel, rollouts: Rollouts) -> Tensor:
    """The critic's value before each answer token is chosen: [B, T], 0 outside the mask."""
    device = critic.score.weight.device
    mask = rollouts.mask.to(device)
    values = critic(rollouts.tokens.to(device))
    shifted = torch.cat((torch.zeros_like(values[:, :1]), values[:, :-1]), dim=1)
    return torch.where(mask, shifted, torch.zeros_like(shifted))
