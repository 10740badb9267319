"""The clipped surrogate of PPO, the critic's loss, and what to watch while they fall.

Losses come per token: the caller sums them and divides by the number of answer tokens of the
whole mini-batch. The value loss and its clipping are not described in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arriero.equations.masked import masked_mean, masked_var, select


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """-min(rho A, clamp(rho, 1 - clip, 1 + clip) A) per token, with rho = pi / pi_old.

    Args:
        logprobs: [B, T] under the policy in training.
        old_logprobs: [B, T] under the policy that sampled, recomputed by the trainer.
        advantages: [B, T].
        mask: [B, T] bool, True on answer tokens.
        clip: half the width of the interval (0.2 in the paper).

    Returns:
        [B, T], 0 outside the mask.

    Worked example: rho = 1.5: A = 1 gives -1.2 (clipped), A = -1 gives 1.5 (not clipped).
    """
    ratio = (select(logprobs, mask) - select(old_logprobs, mask)).exp()
    advantages = select(advantages, mask)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def clip_share(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, clip: float = 0.2) -> Tensor:
    """Share of masked tokens whose ratio lies outside 1 - clip .. 1 + clip: scalar, for reports.

    Shapes as in `policy_loss`; 0 for an empty mask.
    """
    ratio = (select(logprobs, mask) - select(old_logprobs, mask)).exp()
    return masked_mean((ratio - 1).abs() > clip, mask)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float | None = None
) -> Tensor:
    """(V - R)^2 / 2 per token; with `clip`, the larger of it and the same of a V held near V_old.

    Args:
        values: [B, T] of the critic in training.
        old_values: [B, T] of the critic at sampling time; not used without `clip`.
        returns: [B, T] targets.
        mask: [B, T] bool, True on answer tokens.
        clip: how far V may move from V_old before its gain stops counting; None for no bound.

    Returns:
        [B, T], 0 outside the mask.

    Worked example: V 1, V_old 0, R 2: 0.5; with clip 0.2 V counts as 0.2: 1.62.
    """
    values, returns = select(values, mask), select(returns, mask)
    loss = (values - returns).square() / 2
    if clip is None:
        return loss
    old_values = select(old_values, mask)
    held = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum(loss, (held - returns).square() / 2)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(R - V) / Var(R) over masked tokens: scalar; 1 is a perfect critic, 0 a constant one.

    0 where the returns do not vary: there is nothing to explain. Shapes [B, T]. For reports: no
    gradient is meant to pass.
    """
    total = masked_var(returns, mask)
    rest = masked_var(select(returns, mask) - select(values, mask), mask)
    return torch.where(total > 0, 1 - rest / total, 0)
