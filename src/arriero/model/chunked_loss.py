"""The loss of a large vocabulary in chunks, so that its logits are never held all at once."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from arriero.equations.masked import at_least_float32
from arriero.model.fused import is_fused, loss_and_slopes_


def chunked_token_loss_sum(
    hidden: Tensor, head_weight: Tensor, targets: Tensor, mask: Tensor, chunk: int
) -> Tensor:
    """`token_loss_sum(hidden @ head_weight.T, targets, mask)` without ever holding N x V logits.

    Logits are made for `chunk` masked rows at a time and turned into gradients on the spot, so
    the head costs no more arithmetic than without chunks; rows outside the mask cost nothing.
    The gradient of the head is gathered in float32. No second derivative.

    Args:
        hidden: [N, D], the final hidden states.
        head_weight: [V, D], of the same type.
        targets: [N] integers; anything where the mask is False.
        mask: [N] bool.
        chunk: rows at a time, at least 1.

    Returns:
        Scalar, nats, in float32 (float64 for float64 inputs).

    Raises:
        ValueError: `chunk` is below 1.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; at least one row at a time is needed")
    rows = mask.nonzero().squeeze(-1)
    picked, labels = hidden[rows], targets[rows]
    if not torch.is_grad_enabled():
        # The function below asks each input, not the mode, whether a gradient is wanted.
        picked, head_weight = picked.detach(), head_weight.detach()
    # torch leaves the type of `apply` open.
    loss = _ChunkedLoss.apply(picked, head_weight, labels, chunk)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return cast(Tensor, loss)


class _ChunkedLoss(torch.autograd.Function):
    """Loss and both gradients in one pass: d loss / d logits is softmax(logits) - one_hot."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head_weight: Tensor, labels: Tensor, chunk: int
    ) -> Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        total = at_least_float32(hidden.new_zeros(()))
        hidden_grad = torch.empty_like(hidden) if needs_hidden else None
        weight_grad = torch.zeros_like(head_weight, dtype=total.dtype) if needs_weight else None
        for start in range(0, len(hidden), chunk):
            part = hidden[start : start + chunk]
            label = labels[start : start + chunk]
            loss, slope = _loss_and_slopes(F.linear(part, head_weight), label)
            total += loss
            if hidden_grad is not None:
                hidden_grad[start : start + chunk] = slope @ head_weight
            if weight_grad is None:
                continue
            if weight_grad.dtype == slope.dtype:
                weight_grad.addmm_(slope.T, part)
            else:
                weight_grad += slope.T @ part
        if weight_grad is not None:
            weight_grad = weight_grad.to(head_weight.dtype)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, loss_grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return (
            None if hidden_grad is None else hidden_grad * loss_grad.to(hidden_grad.dtype),
            None if weight_grad is None else weight_grad * loss_grad.to(weight_grad.dtype),
            None,
            None,
        )


def _loss_and_slopes(logits: Tensor, labels: Tensor) -> tuple[Tensor | float, Tensor]:
    """Summed loss of rows of logits, which are used up, and its slopes by them, in their type."""
    if is_fused(logits, or_bfloat16=True):
        return loss_and_slopes_(logits, labels), logits
    dtype, labels = logits.dtype, labels.unsqueeze(-1)
    logits = at_least_float32(logits)
    normalizer = logits.logsumexp(-1, keepdim=True)
    loss = (normalizer - logits.gather(-1, labels)).sum()
    slopes = logits.sub_(normalizer).exp_()
    slopes.scatter_add_(-1, labels, torch.full_like(normalizer, -1.0))
    return loss, slopes.to(dtype)
