"""Generalized advantage estimation over answers of different lengths.

The paper names PPO and no estimator; gamma 1 and lambda 0.95 are settings of ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arriero.equations.masked import select


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """A_t = delta_t + gamma lam A_{t+1}, with delta_t = r_t + gamma V_{t+1} - V_t.

    The mask of a row is one run of True, the answer, with anything but True before and after it;
    the value after its last token is 0. (A gap would end one answer and begin another.)

    Args:
        rewards: [B, T].
        values: [B, T]; `values[b, t]` is the critic's estimate before token t is chosen.
        mask: [B, T] bool, True on answer tokens.
        gamma: discount per token.
        lam: 0 gives one-step differences, 1 the whole return minus the value.

    Returns:
        Advantages and returns (advantage + value, the critic's target), both [B, T], 0 outside
        the mask. Call it without gradients: both are targets.

    Worked example: rewards (0, 1), values (0.5, 0.5), gamma 1, lam 0.5:
    delta = (0, 0.5), advantages (0.25, 0.5), returns (0.75, 1).
    """
    rewards, values = select(rewards, mask), select(values, mask)
    next_value = torch.zeros_like(values[:, 0])
    next_advantage = torch.zeros_like(next_value)
    backwards: list[Tensor] = []
    for position in reversed(range(mask.shape[1])):
        delta = rewards[:, position] + gamma * next_value - values[:, position]
        advantage = delta + gamma * lam * next_advantage
        # Values outside the mask are 0 already; advantages must end with the answer too.
        next_advantage = select(advantage, mask[:, position])
        next_value = values[:, position]
        backwards.append(next_advantage)
    advantages = torch.stack(backwards[::-1], dim=1)
    return advantages, advantages + values
