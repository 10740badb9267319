"""The reward that PPO maximises: two reward models made one, minus the KL penalty (section 3.2.3).

Everything is done on raw scores s, of which the paper's R = sigmoid(s): going through sigmoid
and back would saturate. Departure: the paper gives one penalty per answer; here each token bears
its own k1 term, whose sum over the answer is the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arriero.equations.logprobs import kl_k1
from arriero.equations.masked import at_least_float32, select

SAFETY_THRESHOLD = 0.15
"""Below this probability of being safe, the safety model decides (precision 0.89, recall 0.55)."""


def logit(probability: float) -> float:
    """ln(p / (1 - p)), the inverse of the sigmoid: logit(0.15) = -1.7346.

    Raises:
        ValueError: the probability is not strictly between 0 and 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"{probability} is not strictly between 0 and 1")
    return math.log(probability) - math.log1p(-probability)


def composite_score(
    helpfulness: Tensor,
    safety: Tensor,
    is_safety_prompt: Tensor,
    threshold: float = SAFETY_THRESHOLD,
) -> Tensor:
    """logit(Rc): Rc = Rs if the prompt is tagged as safety or Rs < threshold, else Rh.

    Args:
        helpfulness: [B] raw scores of the helpfulness model.
        safety: [B] raw scores of the safety model.
        is_safety_prompt: [B] bool, the tag.
        threshold: a probability.

    Returns:
        [B] raw scores, at least float32, to be whitened over the whole batch.

    Worked example (helpfulness, safety, tag) -> score: (3, 1, no) -> 3; (3, -2, no) -> -2,
    as sigmoid(-2) = 0.119 < 0.15; (3, 1, yes) -> 1.
    """
    safety = at_least_float32(safety)
    follows_safety = is_safety_prompt | (safety < logit(threshold))
    return torch.where(follows_safety, safety, at_least_float32(helpfulness))


def penalized_rewards(
    score: Tensor,
    policy_logprobs: Tensor,
    reference_logprobs: Tensor,
    mask: Tensor,
    beta: float,
) -> Tensor:
    """Reward of each token: -beta (ln pi - ln pi_0), and the score on the answer's last token.

    Summed over an answer this is R(g | p) = Rt(g | p) - beta KL(pi || pi_0), with the k1 estimate.

    Args:
        score: [B], Rt: the whitened composite scores.
        policy_logprobs: [B, T] under the sampling policy pi.
        reference_logprobs: [B, T] under the starting policy pi_0.
        mask: [B, T] bool, True on answer tokens, the EOS among them.
        beta: weight of the penalty, per nat (0.01 at 7B and 13B, 0.005 at 34B and 70B).

    Returns:
        [B, T], 0 outside the mask; a row without answer tokens is all 0.

    Worked example: score 1, beta 0.1, log-ratios (0.5, -1): (-0.05, 0.1 + 1).
    """
    penalty = beta * select(kl_k1(policy_logprobs, reference_logprobs), mask)
    tokens_from_here = mask.flip(1).cumsum(1).flip(1)
    is_last = mask & (tokens_from_here == 1)
    return select(score.unsqueeze(1).expand_as(mask), is_last) - penalty
