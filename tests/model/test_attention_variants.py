"""Variants of one size, and the bytes of their caches, by hand."""

from __future__ import annotations

import pytest
import torch

from arriero.model.attention_variants import (
    GIB,
    PAPER_MHA,
    attention_variants,
    cache_bytes,
    fits,
    largest_batch,
    widened,
)
from arriero.model.cache import KVCache
from arriero.model.config import LLAMA2_7B, LLAMA2_13B, LLAMA2_70B, ModelConfig
from arriero.model.heads import LanguageModel
from arriero.records import UserError

SMALL = ModelConfig(
    vocab_size=300, dim=256, num_layers=3, num_heads=16, num_kv_heads=16, ffn_dim=704, context=64
)


def test_the_widths_by_hand() -> None:
    # MQA lacks 2 * 256 * (256 - 16) = 122,880 a layer, a step of the width has 768: 160 steps.
    # GQA-8 lacks 2 * 256 * (256 - 128) = 65,536: 85.3 steps.
    shapes = attention_variants(SMALL)
    assert {name: shape.ffn_dim for name, shape in shapes.items()} == {
        "mha": 704,
        "gqa-8": 704 + 85,
        "mqa": 704 + 160,
    }
    assert {name: shape.num_kv_heads for name, shape in shapes.items()} == {
        "mha": 16,
        "gqa-8": 8,
        "mqa": 1,
    }


@pytest.mark.parametrize("multiple", [1, 8, 64, 256])
@pytest.mark.parametrize(
    "base",
    [
        SMALL,
        SMALL.model_copy(update={"num_kv_heads": 4}),
        SMALL.model_copy(update={"head_width": 32, "attention_bias": True, "mlp_bias": True}),
        LLAMA2_7B,
        LLAMA2_13B,
        LLAMA2_70B,
    ],
)
def test_counts_are_equal_within_half_a_step_of_the_width(base: ModelConfig, multiple: int) -> None:
    shapes = attention_variants(base, multiple)
    full = shapes["mha"].num_parameters
    for shape in shapes.values():
        wider = shape.model_copy(update={"ffn_dim": shape.ffn_dim + multiple})
        step = wider.num_parameters - shape.num_parameters
        assert abs(shape.num_parameters - full) <= step / 2


def test_counts_are_those_of_the_models_themselves() -> None:
    for shape in attention_variants(SMALL, 8).values():
        with torch.device("meta"):
            counted = sum(p.numel() for p in LanguageModel(shape).parameters())
        assert counted == shape.num_parameters


def test_the_papers_factors() -> None:
    """At the 34B's shape equal counts lie about 0.085 below 1.33 and 1.3; with a feed-forward
    network twice as wide as the residual stream they are the paper's."""
    exact = {
        name: shape.ffn_dim / PAPER_MHA.ffn_dim
        for name, shape in attention_variants(PAPER_MHA).items()
    }
    assert exact["mqa"] == pytest.approx(1.33, abs=0.09)
    assert exact["gqa-8"] == pytest.approx(1.3, abs=0.09)
    assert exact["mqa"] == pytest.approx(1.2442, abs=1e-4)
    assert exact["gqa-8"] == pytest.approx(1.2171, abs=1e-4)
    narrow = PAPER_MHA.model_copy(update={"ffn_dim": 2 * PAPER_MHA.dim})
    ratios = {n: s.ffn_dim / narrow.ffn_dim for n, s in attention_variants(narrow).items()}
    assert ratios["mqa"] == pytest.approx(1.328, abs=5e-4)
    assert ratios["gqa-8"] == pytest.approx(1.292, abs=5e-4)
    for name, factor, share in (("mqa", 1.33, 0.0567), ("gqa-8", 1.3, 0.0547)):
        shape = attention_variants(PAPER_MHA)[name]
        widest = shape.model_copy(update={"ffn_dim": round(factor * PAPER_MHA.ffn_dim)})
        more = widest.num_parameters / PAPER_MHA.num_parameters - 1
        assert more == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("num_heads", [4, 8, 12, 20])
def test_heads_that_gqa_8_does_not_share(num_heads: int) -> None:
    base = ModelConfig(dim=num_heads * 8, num_heads=num_heads, num_kv_heads=num_heads)
    with pytest.raises(UserError, match=rf"{num_heads} heads do not allow.*num_heads 16") as caught:
        attention_variants(base)
    assert "\n" not in str(caught.value)


def test_bytes_by_hand() -> None:
    assert cache_bytes(LLAMA2_7B, 1, 4096) == 2 * GIB
    assert cache_bytes(LLAMA2_7B, 16, 2048) == 16 * GIB
    # 70B with its 8 heads: 2 * 80 * 1,024 * 4,096 * 2 bytes; as MHA eight times as much.
    assert cache_bytes(LLAMA2_70B, 1, 4096) == 1.25 * GIB
    full = LLAMA2_70B.model_copy(update={"num_kv_heads": 64})
    assert cache_bytes(full, 1, 4096) == 10 * GIB
    # The largest MHA that Figure 24 shows at 256 tokens, and the one that it lacks.
    assert cache_bytes(PAPER_MHA, 512, 384) == 288 * GIB
    assert cache_bytes(PAPER_MHA, 1024, 384) == 576 * GIB


def test_bytes_are_those_of_the_cache_itself() -> None:
    for shape in attention_variants(SMALL).values():
        cache = KVCache(shape, 3, 40)
        held = cache.keys.nbytes + cache.values.nbytes
        assert cache_bytes(shape, 3, 40, 4) == held


def test_where_memory_ends() -> None:
    """Figure 24: 640 GiB end for MHA at 1,024 sequences of 256 + 128 tokens; GQA-8 goes on."""
    shapes = attention_variants(PAPER_MHA, 256)
    budget = 640 * GIB
    assert largest_batch(shapes["mha"], 384, budget) == 512
    # Weights of 73.4 GiB leave 566.6; a sequence takes 72 MiB with 8 heads and 9 MiB with one.
    assert largest_batch(shapes["gqa-8"], 384, budget) == 4096
    assert largest_batch(shapes["mqa"], 384, budget) == 32_768
    for shape in shapes.values():
        batch = largest_batch(shape, 384, budget)
        assert fits(shape, batch, 384, budget)
        assert not fits(shape, 2 * batch, 384, budget)
    assert largest_batch(PAPER_MHA, 384, 1 * GIB) == 0


def test_widening_to_more_heads_narrows() -> None:
    shape = widened(SMALL.model_copy(update={"num_kv_heads": 1}), 16)
    assert (shape.num_kv_heads, shape.ffn_dim) == (16, 704)
