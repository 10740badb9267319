"""Shapes and parameter counts of the published sizes, counted on the meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from arriero.model.config import LLAMA2_7B, LLAMA2_13B, LLAMA2_34B, LLAMA2_70B, ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel

PUBLISHED = [
    (LLAMA2_7B, 6_738_415_616),
    (LLAMA2_13B, 13_015_864_320),
    (LLAMA2_34B, 33_743_970_304),
    (LLAMA2_70B, 68_976_648_192),
]
LLAMA32_1B: dict[str, Any] = {
    "vocab_size": 128_256,
    "dim": 2048,
    "num_layers": 16,
    "num_heads": 32,
    "num_kv_heads": 8,
    "ffn_dim": 8192,
    "tie_embeddings": True,
}
SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "dim": 24,
    "num_layers": 3,
    "num_heads": 6,
    "num_kv_heads": 2,
    "ffn_dim": 40,
    "context": 16,
}


def count(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in LanguageModel(config).parameters())


@pytest.mark.parametrize(("config", "published"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(config: ModelConfig, published: int) -> None:
    assert count(config) == config.num_parameters == published


def test_a_published_model_with_tied_embeddings() -> None:
    config = ModelConfig(**LLAMA32_1B)
    assert count(config) == config.num_parameters == 1_235_814_400


@pytest.mark.parametrize(
    "more",
    [
        {"tie_embeddings": True},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"head_width": 10},
        {"head_width": 2, "num_kv_heads": 1, "attention_bias": True, "mlp_bias": True},
    ],
    ids=str,
)
def test_parameters_are_counted_for_every_shape(more: dict[str, Any]) -> None:
    config = ModelConfig(**(SMALL | more))
    assert count(config) == config.num_parameters
    with torch.device("meta"):
        score = sum(parameter.numel() for parameter in ScoreModel(config).parameters())
    assert score == config.num_backbone_parameters + config.dim


def test_biases_and_widths_by_hand() -> None:
    plain, config = ModelConfig(**SMALL), ModelConfig(**SMALL, attention_bias=True, mlp_bias=True)
    # A layer: q 24, k and v 8 each, o 24, gate and up 40 each, down 24.
    assert config.num_parameters - plain.num_parameters == 3 * (24 + 8 + 8 + 24 + 40 + 40 + 24)
    wide = ModelConfig(**SMALL, head_width=6)
    # Six query heads of 6, two key and two value heads of 6, instead of 4 each.
    assert (wide.head_dim, wide.query_dim, wide.kv_dim) == (6, 36, 12)
    assert wide.num_parameters - plain.num_parameters == 3 * 24 * (2 * 12 + 2 * 4)
    tied = ModelConfig(**SMALL, tie_embeddings=True)
    assert plain.num_parameters - tied.num_parameters == 50 * 24


def test_flops_by_hand() -> None:
    config = ModelConfig(**SMALL)
    block = 24 * 24 * 2 + 24 * 8 * 2 + 3 * 24 * 40 + 2 * 24
    weights = 3 * block + 24 + 50 * 24
    assert config.flops_per_token(10) == 6 * weights + 6 * 3 * 24 * 10
    tied = ModelConfig(**SMALL, tie_embeddings=True)
    assert tied.flops_per_token(10) == config.flops_per_token(10)  # it multiplies all the same
    wide = ModelConfig(**SMALL, head_width=8)
    attention = wide.flops_per_token(10) - wide.flops_per_token(0)
    assert attention == 2 * (config.flops_per_token(10) - config.flops_per_token(0))


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of num_kv_heads"):
        ModelConfig(num_heads=32, num_kv_heads=5)
    with pytest.raises(ValidationError, match="even multiple"):
        ModelConfig(dim=100, num_heads=3, num_kv_heads=3)
    with pytest.raises(ValidationError, match="head_width 5 must be even"):
        ModelConfig(head_width=5)
    with pytest.raises(ValidationError, match="must exceed"):
        ModelConfig(rope_low_frequency_factor=4.0)
    with pytest.raises(ValidationError):
        ModelConfig.model_validate({"dimension": 4})


def test_a_head_width_frees_the_width_of_the_stream() -> None:
    shape: dict[str, Any] = SMALL | {"dim": 25, "head_width": 4}
    config = ModelConfig(**shape)
    assert count(config) == config.num_parameters
