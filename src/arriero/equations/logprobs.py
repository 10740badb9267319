"""Log-probabilities of given tokens, entropy, and two estimates of the KL divergence per token."""

from __future__ import annotations

import torch
from torch import Tensor

from arriero.equations.masked import at_least_float32


def token_logprobs(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of each given token: logits[token] - logsumexp(logits), in float32.

    `logits[b, t]` must be the prediction for `tokens[b, t]`; shifting by one is the caller's.
    The temperature divides the logits, at sampling and here alike, so that the two agree.

    Args:
        logits: [B, T, V] (any leading shape).
        tokens: [B, T] integers in 0..V-1.
        temperature: above 0.

    Returns:
        [B, T], nats, at most 0.

    Raises:
        ValueError: the temperature is not above 0.

    Worked example: logits (0, ln 3), token 1 -> ln(3 / 4) = -0.2877.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; log-probabilities need one above 0")
    scaled = at_least_float32(logits)
    if temperature != 1.0:
        scaled = scaled / temperature
    chosen = scaled.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen - scaled.logsumexp(-1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of softmax(logits): -sum p ln p, in float32.

    A logit of -inf is a token of probability 0 and adds nothing.

    Args:
        logits: [B, T, V] (any leading shape).

    Returns:
        [B, T], nats, from 0 to ln V.
    """
    logprobs = at_least_float32(logits).log_softmax(-1)
    possible = logprobs > -torch.inf
    return -(logprobs.exp() * torch.where(possible, logprobs, torch.zeros_like(logprobs))).sum(-1)


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """k1 = ln pi - ln pi_0 of tokens sampled from pi: unbiased for KL(pi || pi_0), of either sign.

    This one belongs in the reward (section 3.2.3). Its mean over many samples is not negative:
    a clearly negative one says that sampler and trainer disagree about pi.

    Args:
        logprobs: any shape; log-probabilities under the policy pi.
        reference_logprobs: the same shape; under the starting policy pi_0.

    Returns:
        The same shape, nats.
    """
    return logprobs - reference_logprobs


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """k3 = e^d - 1 - d with d = ln pi_0 - ln pi: unbiased for KL(pi || pi_0), never negative.

    For reports: its value is unbiased and less noisy than k1, but its gradient is biased.
    Shapes as in `kl_k1`.

    Worked example: pi = 0.5, pi_0 = 0.25: d = -ln 2, k3 = 0.5 - 1 + 0.6931 = 0.1931.
    """
    difference = reference_logprobs - logprobs
    return torch.expm1(difference) - difference
