"""What computes a step: the compiled code on a CPU, PyTorch everywhere else."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arriero.inference.native.layout import Weights
from arriero.inference.native.runner import NativeRunner
from arriero.inference.plain import PlainRunner
from arriero.model.heads import LanguageModel
from arriero.model.lora import merged
from arriero.native.build import native
from arriero.records import UserError

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class Runner(Protocol):
    """A model with a cache of `num_rows` rows; see NativeRunner for the shapes."""

    def forward(
        self, tokens: Integers, rows: Integers, positions: Integers, wanted: Integers
    ) -> Any: ...

    def row(self, logits: Any, place: int) -> Floats: ...

    def draw(
        self,
        logits: Any,
        uniforms: Floats,
        temperatures: Floats,
        top_ps: Floats,
        top_ks: Integers,
    ) -> tuple[Integers, Floats]: ...

    def copy(self, source: int, target: int, count: int) -> None: ...


def make_runner(
    model: LanguageModel,
    num_rows: int,
    num_slots: int,
    *,
    max_tokens: int,
    weights: Weights | None = None,
) -> Runner:
    """The fastest runner that this machine has for the device of the model.

    Adapters (model.lora) are added into a copy of the weights: that is one product a matrix.

    Raises:
        UserError: weights of another type are asked for where nothing is compiled.
    """
    model = merged(model)
    if model.lm_head.weight.is_cpu:
        built = native()
        if built.library is not None:
            return NativeRunner(
                built.library, model, num_rows, num_slots, max_tokens=max_tokens, weights=weights
            )
        if weights is not None:
            raise UserError(f"{weights} weights need the compiled step: {built.why}")
    elif weights is not None:
        raise UserError(f"{weights} weights are for the CPU; load the model in another type")
    return PlainRunner(model, num_rows, num_slots)
