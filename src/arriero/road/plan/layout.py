"""How a job lies on its devices, and what does not divide."""

from __future__ import annotations

import math
from dataclasses import dataclass

from arriero.model.config import ModelConfig
from arriero.records import UserError
from arriero.road.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Layout:
    """`devices` = data-parallel x tensor-parallel ranks.

    Attributes:
        recompute: whether a block's activations are computed again in the backward pass.
        is_gpu: kernels on a GPU keep less of a norm than those on a CPU.
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
    for key in ("num_heads", "num_kv_heads", "ffn_dim"):
        units = getattr(model, key)
        if units % tensor:
            raise UserError(
                f"model.{key} is {units}, which {tensor} tensor-parallel ranks cannot share; "
                f"--tensor {math.gcd(units, tensor)} can"
            )


def check_batch(recipe: Recipe, layout: Layout) -> None:
    """Refuse a batch that the ranks cannot share evenly.

    Raises:
        UserError: with what would divide.
    """
    rows, micro_rows = recipe.pretrain.rows_per_step, recipe.pretrain.micro_rows
    batches = micro_batches(rows, micro_rows)
    if batches % layout.data == 0:
        return
    fitting = f"--devices {most_ranks(batches, layout.data) * layout.tensor}"
    if rows % layout.data == 0:
        fitting = f"--pretrain.micro_rows {math.gcd(rows // layout.data, micro_rows)} or {fitting}"
    raise UserError(
        f"a step has {batches:,} micro-batches ({rows:,} rows by pretrain.micro_rows {micro_rows}),"
        f" which {layout.data} ranks cannot share evenly; name {fitting}"
    )


def micro_batches(items: int, at_once: int) -> int:
    """In how many parts a step goes through the model, over all ranks."""
    return -(-items // at_once)


def most_ranks(batches: int, ranks: int) -> int:
    """The most ranks, at most `ranks`, that share so many micro-batches evenly."""
    return next(count for count in range(min(batches, ranks), 0, -1) if batches % count == 0)
