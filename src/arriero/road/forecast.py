"""What a run will take, before it starts: minutes on this machine and space on its disk.

A rough count of floating-point operations over a measured matrix product; where sampling dominates
it is off by up to a half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from arriero.model.config import ModelConfig
from arriero.road.recipe import Recipe
from arriero.road.stations import names_of
from arriero.stages import workspace

# Share of the matrix-product rate that whole training and sampling reach on small models.
_TRAINING_UTILISATION = 0.45
_SAMPLING_UTILISATION = 0.12
_BYTES_A_PARAMETER = 4
# Weights, two AdamW moments, in up to two checkpoints and one being written.
_CHECKPOINT_COPIES = 9
_CORPUS_BYTES_A_TOKEN = 8


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected minutes on this machine and gigabytes of disk."""

    minutes: float
    disk_gb: float


def forecast(recipe: Recipe) -> Forecast:
    """Estimate a run; measures the machine for a fraction of a second."""
    trained, sampled = _tokens(recipe)
    flops = recipe.model.flops_per_token(recipe.pretrain.row_length)
    rate = matmul_flops(recipe)
    seconds = trained * flops / (rate * _TRAINING_UTILISATION)
    seconds += sampled * flops / 3 / (rate * _SAMPLING_UTILISATION)
    parameters = recipe.model.num_parameters * _BYTES_A_PARAMETER
    names = names_of(recipe)
    # The base model, an SFT model at four fifths, all policies and all reward models.
    num_models = 2 + len(names.policies()) + sum(len(one.rewards) for one in names.versions)
    disk = parameters * (_CHECKPOINT_COPIES + num_models)
    disk += recipe.pretrain.num_tokens * _CORPUS_BYTES_A_TOKEN
    return Forecast(seconds / 60, disk / 1e9)


def training_seconds(recipe: Recipe, model: ModelConfig, length: int, num_tokens: float) -> float:
    """What training a model on so many tokens, in rows of `length`, takes on the device."""
    rate = matmul_flops(recipe) * _TRAINING_UTILISATION
    return num_tokens * model.flops_per_token(length) / rate


def _tokens(recipe: Recipe) -> tuple[float, float]:
    """Tokens trained on (forward and backward) and tokens sampled, over all stages, roughly."""
    world, ppo, rejection = recipe.data.world, recipe.ppo, recipe.rejection
    is_world = recipe.data.source == "world"
    length = min(recipe.sft.row_length, 64 if is_world else 256)
    answer = min(recipe.evaluate.max_new_tokens, length / 2)
    dialogs = world.demonstrations if is_world else recipe.data.max_dialogs or 5_000
    pairs = world.preference_prompts if is_world else recipe.preferences.max_pairs or 3_000
    prompts = rejection.max_prompts or world.policy_prompts
    names = names_of(recipe)
    numbers = [one.number for one in names.versions]
    num_ppo = sum(one.ppo is not None for one in names.versions)
    # Reward models learn from the comparisons of all versions so far; one's own come once.
    batches = sum(numbers) if is_world else 1
    targets = sum(k if k >= recipe.versions.bag_from else 1 for k in numbers)
    trained = float(recipe.pretrain.num_tokens)
    share = recipe.versions.first_share * (recipe.versions.sft - 1)
    trained += recipe.sft.epochs * dialogs * length * (1 + share)
    trained += 2 * recipe.reward.epochs * 2 * pairs * length * batches
    trained += rejection.sft.epochs * prompts * 1.5 * length * targets
    # Policy and critic learn; policy, reference and both reward models are read once.
    trained += ppo.iterations * ppo.samples * length * (2 + 4 / 3) * num_ppo
    sampled = 2 * pairs * answer * (len(numbers) if is_world else 1)
    sampled += prompts * rejection.samples_per_prompt * answer * len(numbers)
    sampled += ppo.iterations * ppo.samples * answer * num_ppo
    sampled += (1 + len(names.policies())) * 3 * recipe.evaluate.prompts_per_set * answer
    return trained, sampled


def matmul_flops(recipe: Recipe, precision: Literal["float32", "bfloat16"] = "float32") -> float:
    """Floating-point operations a second of a matrix product on the device, measured.

    A GPU is measured in bfloat16 whatever the precision.
    """
    has_cuda = recipe.device != "cpu" and torch.cuda.is_available()
    dtype = torch.bfloat16 if has_cuda else getattr(torch, precision)
    return workspace.matmul_flops(torch.device("cuda" if has_cuda else "cpu"), dtype)
