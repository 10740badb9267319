"""Log-probabilities some rows at a time against the whole, with and without the kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.equations.logprobs import entropy, token_logprobs
from arriero.model import chunked_logprobs as room
from arriero.model.chunked_logprobs import chunked_logprobs, chunked_logprobs_and_entropy


def batch(
    rows: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """hidden [rows, 8], head [width, 8] and tokens [rows]."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, 8, generator=generator).to(dtype)
    head = torch.randn(width, 8, generator=generator).to(dtype)
    return hidden, head, torch.randint(width, (rows,), generator=generator)


def test_by_hand() -> None:
    """Logits 0 and ln 3: probabilities 1/4 and 3/4, or 1/10 and 9/10 at a temperature of 0.5."""
    hidden, head = torch.ones(2, 1), torch.tensor([[0.0], [math.log(3)]])
    tokens = torch.tensor([1, 0])
    logprobs, spread = chunked_logprobs_and_entropy(hidden, head, tokens, 1.0)
    assert logprobs.exp().tolist() == pytest.approx([0.75, 0.25])
    assert spread.tolist() == pytest.approx([2 * math.log(2) - 0.75 * math.log(3)] * 2)
    assert chunked_logprobs(hidden, head, tokens, 0.5).exp().tolist() == pytest.approx([0.9, 0.1])


# More rows than are taken at once, and widths that fill no vector, one and many.
@pytest.mark.parametrize("width", [1, 7, 32, 301])
@pytest.mark.parametrize("rows", [1, 128, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_equal_the_whole(width: int, rows: int, dtype: torch.dtype) -> None:
    hidden, head, tokens = batch(rows, width, dtype=dtype)
    hidden.requires_grad_()
    head.requires_grad_()
    slopes = torch.randn(rows, generator=torch.Generator().manual_seed(9), dtype=dtype)
    logits = hidden @ head.T
    whole = token_logprobs(logits, tokens, 0.7)
    expected = torch.autograd.grad(whole, (hidden, head), slopes)
    found = chunked_logprobs(hidden, head, tokens, 0.7)
    rtol, atol = (1e-5, 2e-5) if dtype == torch.float32 else (1e-7, 1e-7)
    torch.testing.assert_close(found, whole, rtol=rtol, atol=atol)
    torch.testing.assert_close(
        torch.autograd.grad(found, (hidden, head), slopes), expected, rtol=rtol, atol=atol
    )
    logprobs, spread = chunked_logprobs_and_entropy(hidden, head, tokens, 0.7)
    assert torch.equal(logprobs, found)
    torch.testing.assert_close(spread, entropy(logits / 0.7), rtol=rtol, atol=atol)
    with torch.no_grad():
        assert torch.equal(chunked_logprobs(hidden, head, tokens, 0.7), found)


def test_kernels_and_plain_code_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, tokens = batch(300, 301, seed=3)
    found = []
    for is_fused in (room.is_fused, lambda *_: False):
        monkeypatch.setattr(room, "is_fused", is_fused)
        leaf = hidden.clone().requires_grad_()
        logprobs = chunked_logprobs(leaf, head, tokens, 1.3)
        logprobs.square().sum().backward()
        found.append(
            (logprobs.detach(), leaf.grad, chunked_logprobs_and_entropy(leaf, head, tokens, 1.3))
        )
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("trained", ["hidden", "head"])
def test_with_one_side_frozen(trained: str) -> None:
    hidden, head, tokens = batch(6, 9)
    side = (hidden if trained == "hidden" else head).requires_grad_()
    whole = torch.autograd.grad(token_logprobs(hidden @ head.T, tokens).sum(), side)
    found = torch.autograd.grad(chunked_logprobs(hidden, head, tokens, 1.0).sum(), side)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("in_autocast", [True, False])
def test_bfloat16_is_near_float32(in_autocast: bool) -> None:
    """Whole weights with products in bfloat16, as on one process, or all of it, as in shares."""
    wide = batch(40, 33, seed=4)
    hidden, head, tokens = wide if in_autocast else (*(x.bfloat16() for x in wide[:2]), wide[2])
    hidden, head = hidden.clone().requires_grad_(), head.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=in_autocast):
        found = chunked_logprobs(hidden, head, tokens, 0.9)
    assert found.dtype == torch.float32
    grads = torch.autograd.grad(found.sum(), (hidden, head))
    leaves = [x.detach().float().requires_grad_() for x in (hidden, head)]
    expected = token_logprobs(leaves[0] @ leaves[1].T, tokens, 0.9)
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=5e-2)
    for grad, leaf, reference in zip(
        grads, (hidden, head), torch.autograd.grad(expected.sum(), leaves), strict=True
    ):
        assert grad.dtype == leaf.dtype
        torch.testing.assert_close(grad.float(), reference, rtol=5e-2, atol=2e-1)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_its_row_alone(poison: float) -> None:
    """PPO's guard looks for it: a maximum or an exponential would have hidden it."""
    hidden, head, tokens = batch(6, 37)
    hidden = hidden.clone()
    hidden[4, 2] = poison
    hidden.requires_grad_()
    found = chunked_logprobs(hidden, head, tokens, 1.0)
    found.sum().backward()
    _, spread = chunked_logprobs_and_entropy(hidden, head, tokens, 1.0)
    assert hidden.grad is not None
    for values in (found.detach(), spread, hidden.grad.sum(-1)):
        assert values.isfinite().tolist() == [True] * 4 + [False, True]


def test_far_logits_have_an_entropy() -> None:
    """All mass on one token: 0 times the logarithm of 0 is 0."""
    hidden, head = torch.ones(1, 1), torch.tensor([[0.0], [-1e4], [-200.0]])
    logprobs, spread = chunked_logprobs_and_entropy(hidden, head, torch.tensor([1]), 1.0)
    assert logprobs.tolist() == pytest.approx([-1e4])
    assert spread.tolist() == pytest.approx([0.0], abs=1e-6)


def test_no_rows() -> None:
    hidden, head, tokens = batch(0, 9)
    hidden.requires_grad_()
    found = chunked_logprobs(hidden, head, tokens, 1.0)
    found.sum().backward()
    assert found.shape == (0,)
    assert hidden.grad is not None
    assert hidden.grad.shape == (0, 8)


def test_a_second_backward_pass_is_refused() -> None:
    hidden, head, tokens = batch(3, 9)
    found = chunked_logprobs(hidden.requires_grad_(), head, tokens, 1.0).sum()
    found.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass"):
        found.backward()


def test_a_token_outside_the_vocabulary_and_no_temperature_are_refused() -> None:
    hidden, head, tokens = batch(3, 9)
    with pytest.raises(ValueError, match="temperature is 0"):
        chunked_logprobs(hidden, head, tokens, 0.0)
    with pytest.raises((IndexError, RuntimeError)):
        chunked_logprobs(hidden, head, tokens + 9, 1.0)
