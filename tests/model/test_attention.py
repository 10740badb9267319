"""Grouped-query attention against loops, and who may look where."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arriero.model.attention import Attention, document_starts, visible_from, visible_in_cache
from arriero.model.config import ModelConfig
from arriero.model.rotary import rotary_angles, rotary_frequencies, rotate


def attention(
    num_heads: int, num_kv_heads: int, seed: int = 0, *, dim: int | None = None, bias: bool = False
) -> Attention:
    config = ModelConfig(
        vocab_size=9,
        dim=dim or 4 * num_heads,
        head_width=None if dim is None else 4,
        attention_bias=bias,
        num_layers=1,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        ffn_dim=8,
        context=16,
    )
    module = Attention(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return module


def angles(length: int) -> tuple[Tensor, Tensor]:
    config = ModelConfig(dim=8, num_heads=2, num_kv_heads=2)
    return rotary_angles(torch.arange(length)[None], rotary_frequencies(config))


def slow(module: Attention, x: Tensor) -> Tensor:
    """Head by head and query by query, each seeing itself and what came before."""
    config = module.config
    cosine, sine = angles(x.shape[0])
    mixed = torch.zeros(x.shape[0], 4 * config.num_heads)
    biases = {
        name: 0.0 if layer.bias is None else layer.bias
        for name, layer in (("q", module.q_proj), ("k", module.k_proj), ("v", module.v_proj))
    }
    queries = x @ module.q_proj.weight.T + biases["q"]
    keys = x @ module.k_proj.weight.T + biases["k"]
    values = x @ module.v_proj.weight.T + biases["v"]
    for head in range(config.num_heads):
        group = head // (config.num_heads // config.num_kv_heads)
        own, shared = slice(4 * head, 4 * head + 4), slice(4 * group, 4 * group + 4)
        q = rotate(queries[None, None, :, own], cosine, sine)[0, 0]
        k = rotate(keys[None, None, :, shared], cosine, sine)[0, 0]
        v = values[:, shared]
        for t in range(x.shape[0]):
            weights = torch.softmax(k[: t + 1] @ q[t] / math.sqrt(4), dim=0)
            mixed[t, own] = weights @ v[: t + 1]
    out = mixed @ module.o_proj.weight.T
    return out if module.o_proj.bias is None else out + module.o_proj.bias


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 4), (4, 2), (4, 1), (6, 3)])
def test_attention_is_the_slow_one(num_heads: int, num_kv_heads: int) -> None:
    module = attention(num_heads, num_kv_heads)
    x = torch.randn(2, 7, 4 * num_heads, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got = module(x, *angles(7), None, None)
        expected = torch.stack([slow(module, row) for row in x])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_heads_of_their_own_width_with_biases_are_the_slow_ones() -> None:
    """Six heads of 4 on a stream of 10: the projections are not square."""
    module = attention(6, 2, dim=10, bias=True)
    assert module.q_proj.weight.shape == (24, 10)
    assert module.o_proj.weight.shape == (10, 24)
    x = torch.randn(2, 7, 10, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got = module(x, *angles(7), None, None)
        expected = torch.stack([slow(module, row) for row in x])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_grouped_heads_are_full_heads_with_the_same_keys() -> None:
    grouped, full = attention(4, 2), attention(4, 4)
    with torch.no_grad():
        for name in ("q_proj", "o_proj"):
            getattr(full, name).weight.copy_(getattr(grouped, name).weight)
        for name in ("k_proj", "v_proj"):
            weight = getattr(grouped, name).weight.unflatten(0, (2, 4))
            getattr(full, name).weight.copy_(weight[[0, 0, 1, 1]].flatten(0, 1))
        x = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(
            grouped(x, *angles(5), None, None), full(x, *angles(5), None, None)
        )


def test_segments_by_hand() -> None:
    starts = document_starts(torch.tensor([[4, 4, 7, -1]]))
    assert starts.tolist() == [[0, 0, 2, 3]]
    visible = visible_from(starts)
    assert visible.int().tolist() == [
        [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]],
    ]


def test_a_row_of_padding_alone_is_finite() -> None:
    """A query that saw nothing at all would be NaN, and NaN times a zero mask is NaN."""
    module = attention(4, 2)
    starts = document_starts(torch.tensor([[-1, -1, -1], [0, 0, -1]]))
    y = module(torch.randn(2, 3, 16), *angles(3), starts, None)
    y.sum().backward()
    assert bool(y.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


def test_slots_of_a_cache_by_hand() -> None:
    visible = visible_in_cache(torch.tensor([[2], [0]]), num_slots=4)
    assert visible.int().tolist() == [[[[1, 1, 1, 0]]], [[[1, 0, 0, 0]]]]


def test_what_a_query_skips_by_hand() -> None:
    """The fourth token belongs to a second answer after the second token: it sees not the third."""
    starts = torch.tensor([[0, 0, 0, 0]])
    skips = torch.tensor([[[0, 0], [0, 0], [0, 0], [2, 3]]])
    visible = visible_from(starts, skips)
    assert visible.int().tolist() == [
        [[[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]],
    ]
