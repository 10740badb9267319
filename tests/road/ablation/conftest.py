"""A whole ablation, as small as it goes: seconds, every step real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arriero.road.ablation import ablation_named
from arriero.road.recipe import Recipe, load_recipe

SMALL: dict[str, Any] = {
    "threads": 1,
    "model.vocab_size": 700,
    "model.dim": 32,
    "model.num_layers": 1,
    "model.ffn_dim": 48,
    "model.context": 64,
    "pretrain.row_length": 64,
    "sft.row_length": 64,
    "rejection.sft.row_length": 64,
    "pretrain.tokens_per_step": 512,
    "ablation.seeds": 2,
    "ablation.num_tokens": 10_240,
    "ablation.num_heads": 16,
    "ablation.held_out": 24,
    "ablation.contexts": (168, 256),
    "ablation.max_batch": 4,
    "ablation.memory_gib": 0.0004,
}


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return load_recipe("tiny", SMALL)


@pytest.fixture(scope="session")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ablations") / "small"
    ablation_named("attention")(recipe, run, lambda line: None)
    return run
