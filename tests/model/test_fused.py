"""The kernels of training against PyTorch's own words for the same, values and slopes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from arriero.model import fused
from arriero.model.attention import document_starts, visible_from
from arriero.model.rotary import rotate
from arriero.native.build import native

close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def _compiled() -> None:
    assert native().library is not None, native().why


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, cosine: Tensor, sine: Tensor, starts: Tensor
) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    q, k = (rotate(x, cosine[:, None], sine[:, None]) for x in (q, k))
    visible = visible_from(starts)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
    return y.transpose(1, 2)


@pytest.mark.parametrize(
    ("rows", "length", "heads", "kv_heads", "head_dim"),
    [(2, 1, 1, 1, 2), (2, 7, 4, 2, 6), (3, 65, 6, 6, 48), (1, 100, 8, 1, 32), (2, 31, 2, 2, 128)],
)
@pytest.mark.parametrize("num_documents", [1, 5])
def test_attention(
    rows: int, length: int, heads: int, kv_heads: int, head_dim: int, num_documents: int
) -> None:
    q = drawn(rows, length, heads, head_dim, seed=1)
    k = drawn(rows, length, kv_heads, head_dim, seed=2)
    v = drawn(rows, length, kv_heads, head_dim, seed=3)
    angles = drawn(rows, length, head_dim // 2, seed=4).detach()
    generator = torch.Generator().manual_seed(5)
    segments = torch.randint(num_documents, (rows, length), generator=generator).sort(1).values
    starts = document_starts(segments)
    slope = drawn(rows, length, heads, head_dim, seed=6).detach()
    expected = plain_attention(q, k, v, angles.cos(), angles.sin(), starts)
    got = fused.attention(q, k, v, angles.cos(), angles.sin(), starts)
    close(got, expected, atol=1e-5, rtol=1e-4)
    close(
        torch.autograd.grad(got, (q, k, v), slope),
        torch.autograd.grad(expected, (q, k, v), slope),
        atol=2e-5,
        rtol=1e-4,
    )


def test_attention_of_large_scores_does_not_overflow() -> None:
    q, k = (drawn(1, 9, 1, 8, seed=seed).detach() * 300 for seed in (1, 2))
    v = drawn(1, 9, 1, 8, seed=3)
    angles = torch.zeros(1, 9, 4)
    starts = torch.zeros(1, 9, dtype=torch.int64)
    got = fused.attention(q, k, v, angles.cos(), angles.sin(), starts)
    close(got, plain_attention(q, k, v, angles.cos(), angles.sin(), starts))


def test_a_document_does_not_feel_its_neighbour() -> None:
    """To the bit: its keys and values weigh nothing."""
    q, k, v = (drawn(1, 40, 2, 16, seed=seed).detach() for seed in (1, 2, 3))
    angles = torch.zeros(1, 40, 8)
    starts = document_starts(torch.arange(40)[None] // 20)
    clean = fused.attention(q, k, v, angles.cos(), angles.sin(), starts)
    for x in (q, k, v):
        x[:, 20:] *= 1000
    other = fused.attention(q, k, v, angles.cos(), angles.sin(), starts)
    assert torch.equal(other[:, :20], clean[:, :20])
    assert not torch.isclose(other[:, 20:], clean[:, 20:]).any()


@pytest.mark.parametrize("width", [1, 5, 8, 40, 257])
def test_norm(width: int) -> None:
    x, weight, slope = drawn(3, 70, width), drawn(width, seed=1), drawn(3, 70, width, seed=2)
    expected, got = F.rms_norm(x, (width,), weight, 1e-5), fused.rms_norm(x, weight, 1e-5)
    close(got, expected)
    slopes = [torch.autograd.grad(y, (x, weight), slope.detach()) for y in (got, expected)]
    close(*slopes, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 8, 13, 20_000])
def test_swiglu(dtype: torch.dtype, count: int) -> None:
    gate, up, slope = (drawn(2, count, seed=seed, dtype=dtype) for seed in range(3))
    wide = [x.detach().float().requires_grad_() for x in (gate, up)]
    expected, got = F.silu(wide[0]) * wide[1], fused.swiglu(gate, up)
    assert got.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 2**-8
    close(got.float(), expected, atol=tolerance, rtol=tolerance)
    slopes = torch.autograd.grad(got, (gate, up), slope.detach())
    references = torch.autograd.grad(expected, wide, slope.detach().float())
    for own, reference in zip(slopes, references, strict=True):
        close(own.float(), reference, atol=2 * tolerance, rtol=2 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [2, 8, 35, 1000])
def test_loss_and_slopes(dtype: torch.dtype, width: int) -> None:
    logits = (drawn(11, width).detach() * 5).to(dtype)
    labels = torch.randint(width, (11,), generator=torch.Generator().manual_seed(1))
    wide = logits.float().requires_grad_()
    expected = F.cross_entropy(wide, labels, reduction="sum")
    (slopes,) = torch.autograd.grad(expected, wide)
    assert fused.loss_and_slopes_(logits, labels) == pytest.approx(
        float(expected.detach()), rel=1e-5
    )
    close(logits.float(), slopes, atol=1e-6 if dtype == torch.float32 else 2**-8, rtol=2**-8)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("column", [0, 7, 19])
def test_a_row_that_is_not_finite_is_seen(broken: float, column: int) -> None:
    logits = torch.zeros(2, 20)
    logits[1, column] = broken
    loss = fused.loss_and_slopes_(logits, torch.tensor([7, 7]))
    assert not torch.tensor(loss).isfinite()
    assert bool(logits[0].isfinite().all())
    assert bool(logits[1].isnan().all())


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    x, weight, slope = drawn(500, 48), drawn(48, seed=1), drawn(500, 48, seed=2)
    found: list[Tensor] = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            y = fused.rms_norm(x, weight, 1e-5)
            found.append(torch.autograd.grad(y, weight, slope.detach())[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_what_the_kernels_take() -> None:
    x = torch.zeros(3)
    assert fused.is_fused(x, torch.nn.Parameter(x))
    assert not fused.is_fused(x.double())
    assert not fused.is_fused(x.bfloat16())
    assert fused.is_fused(x.bfloat16(), or_bfloat16=True)
    assert not fused.is_fused(x, x.bfloat16(), or_bfloat16=True)
    assert not fused.is_fused(x.to("meta"))


def scattered(*shape: int) -> list[Tensor]:
    """Slopes as autograd hands them on: not side by side in memory, and one number many times."""
    turned = drawn(*reversed(shape), seed=9).detach().permute(*reversed(range(len(shape))))
    return [turned, torch.tensor(0.5).expand(shape)]


@pytest.mark.parametrize("which", [0, 1])
def test_slopes_that_are_not_contiguous(which: int) -> None:
    """A copy that is made for a kernel must outlive the call."""
    x, weight = drawn(512, 1024), drawn(1024, seed=1)
    slope = scattered(512, 1024)[which]
    for own, plain, inputs in (
        (fused.rms_norm(x, weight, 1e-5), F.rms_norm(x, (1024,), weight, 1e-5), (x, weight)),
        (fused.swiglu(x, x * 2), F.silu(x) * (x * 2), (x,)),
    ):
        slopes = [torch.autograd.grad(y, inputs, slope) for y in (own, plain)]
        close(*slopes, atol=1e-3, rtol=1e-4)
    q, k, v = (drawn(2, 64, 4, 32, seed=seed) for seed in (1, 2, 3))
    angles, starts = torch.zeros(2, 64, 16), torch.zeros(2, 64, dtype=torch.int64)
    slope = scattered(2, 64, 4, 32)[which]
    slopes = [
        torch.autograd.grad(act(q, k, v, angles.cos(), angles.sin(), starts), (q, k, v), slope)
        for act in (fused.attention, plain_attention)
    ]
    close(*slopes, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("label", [-1, 20])
def test_a_label_outside_the_vocabulary(label: int) -> None:
    with pytest.raises(IndexError, match="vocabulary of 20"):
        fused.loss_and_slopes_(torch.zeros(2, 20), torch.tensor([3, label]))
