"""Sums, means, variances and whitening over the entries that a mask selects.

Entries outside a mask may hold anything, NaN and infinities too: they are never multiplied by
zero (NaN x 0 is NaN) but left out by selection, so that neither a value nor a gradient sees them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The same values in float32, or in float64 if they are float64 already."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def select(values: Tensor, mask: Tensor) -> Tensor:
    """Values where the mask is True and 0 elsewhere, in at least float32.

    Args:
        values: any shape.
        mask: bool, the same shape.

    Raises:
        ValueError: the shapes differ (they would broadcast in silence) or the mask is not bool.
    """
    if values.shape != mask.shape:
        raise ValueError(f"values {tuple(values.shape)} and mask {tuple(mask.shape)} differ")
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask is bool, not {mask.dtype}")
    wide = at_least_float32(values)
    return torch.where(mask, wide, torch.zeros_like(wide))


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the masked entries: scalar, at least float32; 0 for an empty mask.

    >>> masked_sum(torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([True, True, False]))
    tensor(3.)
    """
    return select(values, mask).sum()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked entries: scalar; 0, with a gradient of 0, for an empty mask.

    Never average such means over micro-batches or ranks of unequal size: sum both parts first.
    """
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Biased variance (divided by n, not n - 1) over the masked entries: scalar.

    Equal entries have a variance of exactly 0, and so has an empty mask.

    >>> masked_var(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    tensor(1.)
    """
    return _centered(values, mask).square().sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale the masked entries to mean 0 and variance 1; 0 elsewhere (section 3.2.3).

    The variance is the biased one, so the mean square of the result is 1. Where all masked
    entries are equal (or there is only one) the result is 0, with a gradient of 0. The statistics
    are those of the tensor given: to whiten over several ranks, gather the values first.

    Args:
        values: any shape.
        mask: bool, the same shape.

    Returns:
        The shape of `values`, at least float32.

    >>> whiten(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    tensor([-1.,  1.,  0.])
    """
    centered = _centered(values, mask)
    variance = centered.square().sum() / mask.sum().clamp(min=1)
    # The root of 0 has an infinite slope; 1 in its place leaves the zeros as they are.
    scale = torch.where(variance > 0, variance, torch.ones_like(variance)).rsqrt()
    return centered * scale


def _centered(values: Tensor, mask: Tensor) -> Tensor:
    """Masked entries minus their mean, 0 elsewhere."""
    selected = select(values, mask)
    if selected.numel() == 0:
        return selected
    # One of the entries goes off first: a mean is rounded, so equal entries would differ from
    # theirs by a last bit, and whitening would blow that bit up to 1.
    first = selected.flatten()[mask.flatten().to(torch.uint8).argmax()].detach()
    shifted = select(selected - first, mask)
    return select(shifted - shifted.sum() / mask.sum().clamp(min=1), mask)
