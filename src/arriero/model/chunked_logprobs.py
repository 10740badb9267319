"""Log-probabilities of given tokens under a language head, some rows of logits at a time.

What is done to logits after the product is cheap where they still lie in the cache: on a CPU half
of the time of PPO's passes went into reading them again and again. Without a gradient no more than
a chunk of them is ever held; with one they are kept, and become their own slopes.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from arriero.equations.logprobs import entropy, token_logprobs
from arriero.equations.masked import at_least_float32
from arriero.model.fused import is_fused, logprob_slopes_, logprobs

# Rows at a time: a CPU's cache is small, a GPU wants to be filled (a guess, not measured on one).
_ROWS_AT_ONCE = {"cpu": 128, "cuda": 4096}


def chunked_logprobs(
    hidden: Tensor, head_weight: Tensor, tokens: Tensor, temperature: float
) -> Tensor:
    """`token_logprobs(hidden @ head_weight.T, tokens, temperature)`; no second derivative.

    Args:
        hidden: [N, D], the final hidden states.
        head_weight: [V, D], of the same type.
        tokens: [N] integers in 0..V-1.
        temperature: above 0.

    Returns:
        [N], nats, float32 (float64 for float64 inputs).

    Raises:
        ValueError: the temperature is not above 0.
        RuntimeError: (from the backward pass) it is gone through a second time.
    """
    _check(temperature)
    if not torch.is_grad_enabled():
        return _without_gradient(hidden, head_weight, tokens, temperature, False)[0]
    # torch leaves the type of `apply` open.
    found = _ChunkedLogprobs.apply(hidden, head_weight, tokens, temperature)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return cast(Tensor, found)


@torch.no_grad()
def chunked_logprobs_and_entropy(
    hidden: Tensor, head_weight: Tensor, tokens: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """As `chunked_logprobs`, to the bit, with the entropies of the distributions; no gradient.

    Returns:
        Two tensors [N], in nats.
    """
    _check(temperature)
    return _without_gradient(hidden, head_weight, tokens, temperature, True)


def _check(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; log-probabilities need one above 0")


def _without_gradient(
    hidden: Tensor, head_weight: Tensor, tokens: Tensor, temperature: float, with_entropy: bool
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N], and entropies [N] where they are asked for, zeros if not."""
    found = at_least_float32(hidden.new_zeros(len(hidden)))
    spread = torch.zeros_like(found)
    for part in _parts(hidden):
        scaled = _scaled(hidden[part], head_weight, temperature)
        chosen, _, entropies = _logprobs(scaled, tokens[part], with_entropy)
        found[part] = chosen
        if entropies is not None:
            spread[part] = entropies
    return found, spread


class _ChunkedLogprobs(torch.autograd.Function):
    """d ln p(token) / d logits is one_hot - softmax(logits), over the temperature."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head_weight: Tensor, tokens: Tensor, temperature: float
    ) -> Tensor:
        found = at_least_float32(hidden.new_zeros(len(hidden)))
        normalizers = torch.empty_like(found)
        kept: list[Tensor] = []
        for part in _parts(hidden):
            kept.append(_scaled(hidden[part], head_weight, temperature))
            found[part], normalizers[part], _ = _logprobs(kept[-1], tokens[part], False)
        ctx.save_for_backward(hidden, head_weight, tokens, normalizers)
        ctx.kept, ctx.temperature = kept, temperature
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, slopes: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, head_weight, tokens, normalizers = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            raise RuntimeError("the logits have become their slopes already: one backward pass")
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        slopes = slopes / ctx.temperature
        hidden_grad = torch.empty_like(hidden) if needs_hidden else None
        weight_grad = torch.zeros_like(head_weight, dtype=slopes.dtype) if needs_weight else None
        for part, scaled in zip(_parts(hidden), kept, strict=True):
            slope = _slopes(scaled, tokens[part], normalizers[part], slopes[part])
            slope = slope.to(head_weight.dtype)
            if hidden_grad is not None:
                torch.mm(slope, head_weight, out=hidden_grad[part])
            if weight_grad is None:
                continue
            if weight_grad.dtype == slope.dtype:
                weight_grad.addmm_(slope.T, hidden[part])
            else:
                weight_grad += slope.T @ hidden[part]
        if weight_grad is not None:
            weight_grad = weight_grad.to(head_weight.dtype)
        return hidden_grad, weight_grad, None, None


def _parts(hidden: Tensor) -> list[slice]:
    size = _ROWS_AT_ONCE.get(hidden.device.type, _ROWS_AT_ONCE["cpu"])
    return [slice(begin, begin + size) for begin in range(0, len(hidden), size)]


def _scaled(hidden: Tensor, head_weight: Tensor, temperature: float) -> Tensor:
    """Logits over the temperature, in at least float32; nothing else holds them."""
    logits = at_least_float32(F.linear(hidden, head_weight))
    return logits if temperature == 1.0 else logits.div_(temperature)


def _logprobs(
    scaled: Tensor, tokens: Tensor, with_entropy: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probabilities, normalizers and, where asked for, entropies of rows of logits."""
    if is_fused(scaled):
        return logprobs(scaled, tokens, with_entropy)
    chosen = token_logprobs(scaled, tokens)
    return chosen, scaled.logsumexp(-1), entropy(scaled) if with_entropy else None


def _slopes(scaled: Tensor, tokens: Tensor, normalizers: Tensor, slopes: Tensor) -> Tensor:
    """What the logits turn into: slopes * (one_hot - softmax)."""
    if is_fused(scaled):
        logprob_slopes_(scaled, tokens, normalizers, slopes)
        return scaled
    scaled.sub_(normalizers[:, None]).exp_().mul_(-slopes[:, None])
    return scaled.scatter_add_(-1, tokens[:, None], slopes[:, None])
