"""What pretraining, fine-tuning and reward training share: resume, train, save now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from arriero.equations.schedule import cosine_with_warmup
from arriero.stages.workspace import Workspace
from arriero.training.checkpoint import load_checkpoint, save_checkpoint
from arriero.training.loop import StepReport, train
from arriero.training.meters import Meter
from arriero.training.optimizer import OptimizerConfig, adamw

Batch = TypeVar("Batch")

Precision = Literal["float32", "bfloat16"]


def fit(
    model: nn.Module,
    config: OptimizerConfig,
    workspace: Workspace,
    *,
    num_steps: int,
    checkpoint_every: int,
    micro_batches: Callable[[int], Sequence[Batch]],
    loss_sum: Callable[[Batch], Tensor],
    num_items: Callable[[Batch], int],
    unit: str,
) -> Iterator[tuple[StepReport, Meter]]:
    """Train `model` to `num_steps`, from its newest checkpoint if there is one.

    Yields each step's report with the meter to record it in; the caller adds figures of its own,
    evaluates and saves in plain `if` lines. After the last step the checkpoints are still there:
    whoever runs the stage removes them once its manifest says that the result stands.
    """
    optimizer = adamw([model], config)
    modules: dict[str, nn.Module] = {"model": model}
    optimizers: dict[str, torch.optim.Optimizer] = {"adamw": optimizer}
    state = load_checkpoint(workspace.checkpoints, modules, optimizers)
    start = 0 if state is None else int(state["step"])
    if start:
        workspace.say(f"going on from step {start}")
    meter = Meter(workspace.metrics, start, num_steps, workspace.say, unit)

    def learning_rate(step: int) -> float:
        return cosine_with_warmup(
            step, num_steps, config.peak, config.warmup_steps, config.final_share
        )

    for report in train(
        optimizer=optimizer,
        micro_batches=micro_batches,
        loss_sum=loss_sum,
        num_items=num_items,
        learning_rate=learning_rate,
        clip=config.clip,
        start=start,
        stop=num_steps,
    ):
        yield report, meter
        done = report.step + 1
        if done % checkpoint_every == 0 or done == num_steps:
            save_checkpoint(workspace.checkpoints, done, modules, optimizers, {})


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where asked for: weights and reductions stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
