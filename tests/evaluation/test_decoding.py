"""Decode speeds: what is counted, and what there is no room for."""

from __future__ import annotations

import pytest

from arriero.evaluation.decoding import decode_rates
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.records import UserError


def model(dim: int, context: int = 256) -> LanguageModel:
    config = ModelConfig(
        vocab_size=64,
        dim=dim,
        num_layers=2,
        num_heads=4,
        num_kv_heads=4,
        ffn_dim=2 * dim,
        context=context,
    )
    return LanguageModel.fresh(config, seed=0)


def test_a_figure_a_window_and_more_sequences_give_more_tokens() -> None:
    models = {"small": model(32)}
    alone = decode_rates(models, 1, 200, repeats=5)["small"]
    many = decode_rates(models, 32, 200, repeats=5)["small"]
    assert len(alone) == len(many) == 5
    assert min(alone) > 0
    assert sorted(many)[2] > 2 * sorted(alone)[2]


def test_a_model_of_a_hundred_times_the_work_is_slower() -> None:
    rates = decode_rates({"small": model(32), "large": model(512)}, 8, 200, repeats=5)
    assert sorted(rates["small"])[2] > 2 * sorted(rates["large"])[2]


def test_a_context_without_room_for_the_windows() -> None:
    with pytest.raises(UserError, match=r"context of 100 tokens has no room.*166 or more"):
        decode_rates({"small": model(32)}, 1, 100, repeats=5)
