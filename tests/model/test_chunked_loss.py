"""The chunked loss against the whole one, in every type and with either side frozen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from arriero.equations.language_loss import token_loss_sum
from arriero.model.chunked_loss import chunked_token_loss_sum


def batch(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """hidden [13, 4], head [9, 4], targets [13] (-100 outside the mask) and mask [13]."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(13, 4, generator=generator).to(dtype)
    head = torch.randn(9, 4, generator=generator).to(dtype)
    mask = torch.rand(13, generator=generator) < 0.6
    targets = torch.where(mask, torch.randint(9, (13,), generator=generator), -100)
    return hidden, head, targets, mask


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_chunks_equal_the_whole(chunk: int, seed: int) -> None:
    hidden, head, targets, mask = batch(seed, torch.float64)
    hidden.requires_grad_()
    head.requires_grad_()
    whole = token_loss_sum(hidden @ head.T, targets, mask)
    expected = torch.autograd.grad(whole / 7, (hidden, head))
    chunked = chunked_token_loss_sum(hidden, head, targets, mask, chunk)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(torch.autograd.grad(chunked / 7, (hidden, head)), expected)


def test_chunked_gradient_against_finite_differences() -> None:
    hidden, head, targets, mask = batch(2, torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w: chunked_token_loss_sum(h, w, targets, mask, 3),
        (hidden.requires_grad_(), head.requires_grad_()),
    )


def test_chunked_in_half_precision_is_near_float32() -> None:
    hidden, head, targets, mask = batch(3, torch.bfloat16)
    hidden.requires_grad_()
    head.requires_grad_()
    loss = chunked_token_loss_sum(hidden, head, targets, mask, 4)
    assert loss.dtype == torch.float32
    grads = torch.autograd.grad(loss, (hidden, head))
    wide = [x.detach().float().requires_grad_() for x in (hidden, head)]
    expected_loss = token_loss_sum(wide[0] @ wide[1].T, targets, mask)
    expected = torch.autograd.grad(expected_loss, wide)
    torch.testing.assert_close(loss, expected_loss, rtol=2e-2, atol=2e-2)
    for grad, reference in zip(grads, expected, strict=True):
        assert grad.dtype == torch.bfloat16
        torch.testing.assert_close(grad.float(), reference, rtol=5e-2, atol=5e-2)


def test_chunked_under_autocast_is_near_float32() -> None:
    """Weights and hidden states float32, products bfloat16: as a stage trains on one process."""
    hidden, head, targets, mask = batch(3)
    hidden.requires_grad_()
    head.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = chunked_token_loss_sum(hidden, head, targets, mask, 4)
    assert loss.dtype == torch.float32
    grads = torch.autograd.grad(loss, (hidden, head))
    expected = torch.autograd.grad(token_loss_sum(hidden @ head.T, targets, mask), (hidden, head))
    for grad, reference in zip(grads, expected, strict=True):
        assert grad.dtype == torch.float32
        torch.testing.assert_close(grad, reference, rtol=5e-2, atol=5e-2)


def test_chunked_leaves_rows_outside_the_mask_alone() -> None:
    hidden, head, targets, mask = batch(4)
    clean = chunked_token_loss_sum(hidden, head, targets, mask, 2)
    hidden[~mask] = math.nan
    hidden.requires_grad_()
    head.requires_grad_()
    loss = chunked_token_loss_sum(hidden, head, targets, mask, 2)
    assert torch.equal(loss, clean)
    hidden_grad, head_grad = torch.autograd.grad(loss, (hidden, head))
    assert torch.isfinite(head_grad).all()
    assert (hidden_grad[~mask] == 0).all()
    assert (hidden_grad[mask] != 0).all()


@pytest.mark.parametrize("trained", ["hidden", "head"])
def test_chunked_with_one_side_frozen(trained: str) -> None:
    hidden, head, targets, mask = batch(5)
    leaf = (hidden if trained == "hidden" else head).requires_grad_()
    chunked_token_loss_sum(hidden, head, targets, mask, 4).backward()
    assert leaf.grad is not None
    (expected,) = torch.autograd.grad(token_loss_sum(hidden @ head.T, targets, mask), leaf)
    torch.testing.assert_close(leaf.grad, expected)


def test_chunked_without_gradients() -> None:
    hidden, head, targets, mask = batch(6)
    head.requires_grad_()
    with torch.no_grad():
        loss = chunked_token_loss_sum(hidden, head, targets, mask, 4)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, token_loss_sum(hidden @ head.detach().T, targets, mask))


class CountMatmuls(TorchDispatchMode):
    """Rows of the result of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm_.default):
            self.rows.append(len(result))
        return result


def test_chunked_costs_as_many_products_as_needed_on_as_few_rows() -> None:
    hidden, head, targets, _ = batch(8)
    head.requires_grad_()
    mask = torch.arange(13) < 7
    settings = (hidden, head, targets.clamp(min=0), mask, 3)
    with torch.no_grad(), CountMatmuls() as without:
        chunked_token_loss_sum(*settings)
    assert without.rows == [3, 3, 1]  # the masked rows, three at a time
    with CountMatmuls() as head_alone:
        chunked_token_loss_sum(*settings).backward()
    assert head_alone.rows == [3, 9, 3, 9, 1, 9]  # and the gradient [9, 4] of the head
    hidden.requires_grad_()
    with CountMatmuls() as both:
        chunked_token_loss_sum(*settings).backward()
    assert both.rows == [3, 3, 9, 3, 3, 9, 1, 1, 9]


def test_empty_mask_costs_nothing_and_has_a_zero_gradient() -> None:
    hidden, head, targets, _ = batch(7)
    hidden.requires_grad_()
    head.requires_grad_()
    loss = chunked_token_loss_sum(hidden, head, targets, torch.zeros(13, dtype=torch.bool), 4)
    assert loss.item() == 0
    for grad in torch.autograd.grad(loss, (hidden, head)):
        assert (grad == 0).all()


def test_chunk_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk"):
        chunked_token_loss_sum(*batch(), chunk=0)
