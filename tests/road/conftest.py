"""A whole run on the embedded world, as small as it goes: seconds, every stage real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arriero.road.drive import drive
from arriero.road.recipe import Recipe, load_recipe

SMALL: dict[str, Any] = {
    "threads": 1,
    "data.world.documents": 1500,
    "data.world.demonstrations": 300,
    "data.world.preference_prompts": 480,
    "data.world.comparison_prompts": 60,
    "data.world.policy_prompts": 60,
    "data.world.held_out_prompts": 24,
    "data.world.test_prompts": 40,
    "model.vocab_size": 1200,
    "model.dim": 32,
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "model.ffn_dim": 64,
    "pretrain.num_tokens": 81_920,
    "pretrain.checkpoint_every": 5,
    "pretrain.valid_every": 10,
    "sft.epochs": 1,
    "sft.checkpoint_every": 3,
    "reward.pairs_per_step": 8,
    "reward.checkpoint_every": 2,
    "preferences.max_new_tokens": 72,
    "rejection.samples_per_prompt": 3,
    "rejection.temperatures": (0.8, 1.0),
    "rejection.fitting_prompts": 8,
    "rejection.max_new_tokens": 72,
    "rejection.sft.epochs": 1,
    "rejection.sft.checkpoint_every": 1,
    "ppo.iterations": 4,
    "ppo.samples": 32,
    "ppo.mini_batch": 16,
    "ppo.max_new_tokens": 24,
    "ppo.held_out_every": 2,
    "ppo.checkpoint_every": 1,
    "evaluate.max_new_tokens": 24,
}


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    return load_recipe("tiny", SMALL)


@pytest.fixture(scope="session")
def finished_run(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    run = tmp_path_factory.mktemp("runs") / "small"
    drive(small_recipe, run, lambda line: None)
    return run
