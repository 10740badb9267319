from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from arriero.equations.masked import (
    at_least_float32,
    masked_mean,
    masked_sum,
    masked_var,
    select,
    whiten,
)

GARBAGE = [math.nan, math.inf, -math.inf]
ENTRIES = st.lists(
    st.tuples(st.floats(-1000, 1000, width=32), st.booleans()), min_size=1, max_size=20
)


def with_garbage(values: list[float], mask: list[bool]) -> Tensor:
    """The values with NaN and infinities in every slot outside the mask."""
    return torch.tensor(
        [v if m else GARBAGE[i % 3] for i, (v, m) in enumerate(zip(values, mask, strict=True))]
    )


def test_by_hand() -> None:
    values = torch.tensor([1.0, 3.0, math.nan, 8.0, math.inf])
    mask = torch.tensor([True, True, False, True, False])
    assert masked_sum(values, mask) == 12
    assert masked_mean(values, mask) == 4
    assert masked_var(values, mask).item() == pytest.approx((9 + 1 + 16) / 3)
    assert select(values, mask).tolist() == [1, 3, 0, 8, 0]
    root = math.sqrt(26 / 3)
    assert whiten(values, mask).tolist() == pytest.approx([-3 / root, -1 / root, 0, 4 / root, 0])


@given(ENTRIES)
@settings(max_examples=100, deadline=None)
def test_against_a_loop(entries: list[tuple[float, bool]]) -> None:
    values, mask = [v for v, _ in entries], [m for _, m in entries]
    kept = [v for v, m in entries if m]
    mean = math.fsum(kept) / len(kept) if kept else 0.0
    variance = math.fsum((v - mean) ** 2 for v in kept) / len(kept) if kept else 0.0
    tensor, selected = with_garbage(values, mask), torch.tensor(mask)
    assert masked_sum(tensor, selected).item() == pytest.approx(math.fsum(kept), abs=1e-2)
    assert masked_mean(tensor, selected).item() == pytest.approx(mean, rel=1e-4, abs=1e-3)
    assert masked_var(tensor, selected).item() == pytest.approx(variance, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_whitened_entries_have_mean_0_and_variance_1(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(7, 11, generator=generator) * 10**seed + 100
    mask = torch.rand(7, 11, generator=generator) < 0.6
    whitened = whiten(torch.where(mask, values, math.nan), mask)
    assert whitened[mask].mean().item() == pytest.approx(0, abs=1e-4)
    assert whitened[mask].square().mean().item() == pytest.approx(1, rel=1e-4)
    assert (whitened[~mask] == 0).all()
    # Neither shift nor a positive scale of the input changes anything.
    torch.testing.assert_close(whiten(values * 4 - 8, mask), whitened, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -1.7346, 1e6, 0.0])
def test_constant_batch_whitens_to_zeros(value: float) -> None:
    # The rounded mean of n equal numbers is often another number: none of that may be blown up.
    for size in (1, 3, 7, 511):
        values = torch.full((size,), value, requires_grad=True)
        mask = torch.ones(size, dtype=torch.bool)
        whitened = whiten(values, mask)
        assert (whitened == 0).all()
        assert masked_var(values, mask) == 0
        whitened.sum().backward()
        assert values.grad is not None
        assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("function", [masked_sum, masked_mean, masked_var, whiten])
def test_empty_mask_gives_zero_and_a_finite_gradient(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    values = torch.tensor([math.nan, math.inf, 2.0], requires_grad=True)
    result = function(values, torch.zeros(3, dtype=torch.bool))
    assert (result == 0).all()
    result.sum().backward()
    assert values.grad is not None
    assert (values.grad == 0).all()
    nothing = torch.zeros(0)
    assert function(nothing, nothing.bool()).sum() == 0


@pytest.mark.parametrize("function", [masked_sum, masked_mean, masked_var, whiten])
def test_gradient_does_not_see_what_the_mask_hides(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    mask = torch.tensor([True, False, True, False, True])
    clean = torch.tensor([1.0, 0.0, 4.0, 0.0, -2.0], requires_grad=True)
    dirty = torch.tensor([1.0, math.nan, 4.0, math.inf, -2.0], requires_grad=True)
    weights = torch.arange(5.0)
    for values in (clean, dirty):
        (function(values, mask) * weights).sum().backward()
    assert clean.grad is not None
    assert dirty.grad is not None
    assert torch.equal(clean.grad, dirty.grad)
    assert (dirty.grad[~mask] == 0).all()


def test_gradients_against_finite_differences() -> None:
    mask = torch.tensor([True, False, True, True])
    values = torch.tensor([0.3, 9.0, -1.2, 2.0], dtype=torch.float64, requires_grad=True)
    for function in (masked_mean, masked_var, whiten):
        assert torch.autograd.gradcheck(lambda v, f=function: f(v, mask), (values,))


def test_half_precision_is_summed_in_float32() -> None:
    ones = torch.ones(10_000, dtype=torch.bfloat16)
    assert masked_sum(ones, ones.bool()) == 10_000
    assert at_least_float32(ones).dtype == torch.float32
    assert at_least_float32(ones.double()).dtype == torch.float64


def test_shapes_and_types_that_would_pass_in_silence_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        masked_sum(torch.ones(2, 3), torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="bool"):
        masked_sum(torch.ones(3), torch.ones(3))
