from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.language_loss import token_loss_sum


def batch(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """hidden [13, 4], head [9, 4], targets [13] (-100 outside the mask) and mask [13]."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(13, 4, generator=generator).to(dtype)
    head = torch.randn(9, 4, generator=generator).to(dtype)
    mask = torch.rand(13, generator=generator) < 0.6
    targets = torch.where(mask, torch.randint(9, (13,), generator=generator), -100)
    return hidden, head, targets, mask


def test_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, math.log(5), 0.0, 0.0], [math.nan] * 4])
    targets, mask = torch.tensor([2, 1, -100]), torch.tensor([True, True, False])
    expected = math.log(4) + math.log(8 / 5)
    assert token_loss_sum(logits, targets, mask).item() == pytest.approx(expected)


def test_against_a_loop() -> None:
    hidden, head, targets, mask = batch()
    logits = hidden @ head.T
    expected = 0.0
    for row in range(13):
        if mask[row]:
            weights = [math.exp(x) for x in logits[row].tolist()]
            expected -= math.log(weights[int(targets[row])] / sum(weights))
    assert token_loss_sum(logits, targets, mask).item() == pytest.approx(expected, rel=1e-5)


def test_sums_over_parts_add_up() -> None:
    hidden, head, targets, mask = batch(1)
    logits = hidden @ head.T
    parts = sum(
        token_loss_sum(logits[part], targets[part], mask[part])
        for part in (slice(0, 1), slice(1, 8), slice(8, 13))
    )
    torch.testing.assert_close(parts, token_loss_sum(logits, targets, mask))


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(5000, 4, dtype=torch.bfloat16)
    rows = torch.zeros(5000, dtype=torch.long)
    loss = token_loss_sum(logits, rows, rows == 0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(5000 * math.log(4), rel=1e-5)


def test_gradient_ignores_nan_outside_the_mask() -> None:
    logits = torch.zeros(3, 2)
    logits[1] = math.nan
    logits.requires_grad_()
    mask = torch.tensor([True, False, True])
    token_loss_sum(logits, torch.tensor([0, -100, 1]), mask).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.5, 0.5], [0, 0], [0.5, -0.5]]


def test_empty_mask_has_a_zero_gradient() -> None:
    hidden, head, targets, _ = batch(7)
    hidden.requires_grad_()
    head.requires_grad_()
    empty = torch.zeros(13, dtype=torch.bool)
    loss = token_loss_sum(hidden @ head.T, targets, empty)
    assert loss.item() == 0
    for grad in torch.autograd.grad(loss, (hidden, head)):
        assert (grad == 0).all()
