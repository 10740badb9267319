"""How a job lies on its devices, and what does not divide."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from arriero.data.batches import most_ranks
from arriero.model.config import ModelConfig
from arriero.records import UserError
from arriero.road.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Layout:
    """`devices` = data-parallel x tensor-parallel ranks.

    Attributes:
        recompute: whether a block's activations are computed again in the backward pass.
        is_gpu: whether PyTorch's kernels run, or those of model.fused, which keep less.
    """

    devices: int
    tensor: int = 1
    recompute: bool = False
    is_gpu: bool = True

    @property
    def data(self) -> int:
        """Ranks that share the rows of a step."""
        return self.devices // self.tensor

    @property
    def is_divided(self) -> bool:
        """Whether there is more than one rank."""
        return self.devices > 1


def check_layout(model: ModelConfig, devices: int, tensor: int) -> None:
    """Refuse what cannot be divided.

    Raises:
        UserError: no device at all, a group of ranks that the devices or a matrix cannot be
            divided by.
    """
    if devices < 1 or tensor < 1:
        which, number = ("--tensor", tensor) if tensor < 1 else ("--devices", devices)
        raise UserError(f"{which} {number}: name 1 or more")
    if devices % tensor:
        raise UserError(
            f"{devices} devices do not divide into groups of {tensor}; "
            f"name a multiple of {tensor}, or --tensor {math.gcd(devices, tensor)}"
        )
    _check_matrices(model, tensor, "--tensor")


def check_tensor(recipe: Recipe, verbs: Collection[str]) -> None:
    """Refuse a run whose tensor-parallel ranks cannot share the matrices of its stages.

    Args:
        verbs: as in `check_batches`.

    Raises:
        UserError: with what would do.
    """
    if verbs:
        _check_matrices(recipe.model, recipe.parallel.tensor, "--parallel.tensor")


def _check_matrices(model: ModelConfig, tensor: int, option: str) -> None:
    for key in ("num_heads", "num_kv_heads", "ffn_dim"):
        units = getattr(model, key)
        if units % tensor:
            raise UserError(
                f"model.{key} is {units}, which {tensor} tensor-parallel ranks cannot share; "
                f"{option} {math.gcd(units, tensor)} can"
            )


def check_batch(recipe: Recipe, layout: Layout) -> None:
    """Refuse a batch of pretraining that the ranks cannot share evenly.

    The other stages are planned on as many of the devices as can share theirs.

    Raises:
        UserError: with what would divide.
    """
    rows = recipe.pretrain.rows_per_step
    if rows % layout.data:
        fitting = most_ranks(rows, layout.data) * layout.tensor
        raise UserError(
            f"{_uneven(recipe, 'pretrain.tokens_per_step', layout.data)}, or --devices {fitting}"
        )


def check_batches(recipe: Recipe, verbs: Collection[str], ranks: int) -> None:
    """Refuse a run whose data-parallel ranks cannot share the batch of one of its stages evenly.

    Args:
        verbs: the stages that the ranks are going to do together.

    Raises:
        UserError: with what would divide.
    """
    for key, (items, _) in _batches(recipe).items():
        if key.partition(".")[0] in verbs and items % ranks:
            fewer = most_ranks(items, ranks)
            raise UserError(f"{_uneven(recipe, key, ranks)}, or do that stage on {fewer} of them")


def check_adapters(recipe: Recipe, verbs: Collection[str]) -> None:
    """Refuse a run whose tensor-parallel ranks would have to share adapters.

    Args:
        verbs: as in `check_batches`.

    Raises:
        UserError: with what would do.
    """
    adapters = {
        "sft": recipe.sft.lora,
        "reward": recipe.reward.lora,
        "rejection.sft": recipe.rejection.sft.lora,
        "ppo": recipe.ppo.lora,
    }
    for key, lora in adapters.items():
        if key.partition(".")[0] in verbs and lora.rank and recipe.parallel.tensor > 1:
            raise UserError(
                f"adapters ({key}.lora.rank {lora.rank}) cannot be cut up for parallel.tensor "
                f"{recipe.parallel.tensor}; say --parallel.tensor 1, or --{key}.lora.rank 0"
            )


def _batches(recipe: Recipe) -> dict[str, tuple[int, int]]:
    """Keys that say how much a step holds: the items that ranks share, and how much one counts."""
    pretrain, sft, again = recipe.pretrain, recipe.sft, recipe.rejection.sft
    return {
        "pretrain.tokens_per_step": (pretrain.rows_per_step, pretrain.row_length),
        "sft.rows_per_step": (sft.rows_per_step, 1),
        "sft.replay_rows": (sft.replay_rows, 1),
        "reward.pairs_per_step": (recipe.reward.pairs_per_step, 1),
        "rejection.sft.rows_per_step": (again.rows_per_step, 1),
        "rejection.sft.replay_rows": (again.replay_rows, 1),
    }


def _uneven(recipe: Recipe, key: str, ranks: int) -> str:
    items, size = _batches(recipe)[key]
    rows = f", {items:,} rows" if size > 1 else ""
    fitting = max(1, items // ranks) * ranks * size
    return (
        f"{key} is {items * size:,}{rows}, which {ranks} data-parallel ranks cannot share evenly; "
        f"name --{key} {fitting}"
    )


def micro_batches(items: int, at_once: int, ranks: int) -> int:
    """In how many parts a rank's share of a step goes through the model."""
    return -(-(items // ranks) // at_once)
