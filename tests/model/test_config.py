"""Shapes and parameter counts of the published sizes, counted on the meta device."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from arriero.model.config import LLAMA2_7B, LLAMA2_13B, LLAMA2_34B, LLAMA2_70B, ModelConfig
from arriero.model.heads import LanguageModel

PUBLISHED = [
    (LLAMA2_7B, 6_738_415_616),
    (LLAMA2_13B, 13_015_864_320),
    (LLAMA2_34B, 33_743_970_304),
    (LLAMA2_70B, 68_976_648_192),
]


@pytest.mark.parametrize(("config", "published"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(config: ModelConfig, published: int) -> None:
    with torch.device("meta"):
        model = LanguageModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    assert config.num_parameters == published


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of num_kv_heads"):
        ModelConfig(num_heads=32, num_kv_heads=5)
    with pytest.raises(ValidationError, match="even multiple"):
        ModelConfig(dim=100, num_heads=3, num_kv_heads=3)
    with pytest.raises(ValidationError):
        ModelConfig.model_validate({"dimension": 4})
