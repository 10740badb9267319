"""What pretraining, fine-tuning and reward training share: resume, train, save now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

from arriero.equations.schedule import cosine_with_warmup
from arriero.model.lora import trained_part
from arriero.records import Stopped
from arriero.stages.recording import note_skipped, open_meter
from arriero.stages.workspace import Workspace
from arriero.training.checkpoint import Flush, load_checkpoint, write_checkpoint
from arriero.training.figures import Tally
from arriero.training.guards import Guard
from arriero.training.loop import StepReport, train
from arriero.training.meters import Meter
from arriero.training.optimizer import OptimizerConfig, adamw
from arriero.training.pages import keep_pages
from arriero.training.parallel import Precision
from arriero.training.stopping import stop_requests

__all__ = ["Precision", "autocast", "fit"]

Batch = TypeVar("Batch")


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
    precision: Precision = "float32",
    flops: Callable[[Batch], float] | None = None,
    sample_ids: Callable[[int], Sequence[int]] | None = None,
    keep_every: int = 0,
) -> Iterator[tuple[StepReport, Meter]]:
    """Train `model` to `num_steps`, from its newest checkpoint if there is one.

    SIGTERM and Ctrl-C end it after the step under way, with a checkpoint.

    Args:
        model: on the workspace's ranks already, see stages.placement.
        unit: what `num_items` counts.
        precision: of the matrix products, which the utilisation is measured against.
        flops: operations of a batch, forward and backward; without it no utilisation is shown.
        sample_ids: what a step learns from, to name it where the step is left out.
        keep_every: checkpoints of steps that are a multiple of it stay; 0 keeps the newest two
            alone.

    Raises:
        Stopped: the process was asked to stop, and the checkpoint is written.
        UserError: three steps in a row were not fit to be taken.

    Yields each step's report with the meter to record it in; the caller adds figures of its own,
    evaluates and saves in plain `if` lines. After the last step the checkpoints are still there:
    whoever runs the stage removes them once its manifest says that the result stands.
    """
    keep_pages()
    ranks, guard = workspace.ranks, Guard(config.clip)
    optimizer = adamw([model], config)
    modules: dict[str, nn.Module] = {"model": trained_part(model)}
    optimizers: dict[str, torch.optim.Optimizer] = {"adamw": optimizer}
    state = load_checkpoint(workspace.checkpoints, modules, optimizers, ranks=ranks) or {}
    guard.load_state(state.get("guard", {}))
    start = int(state.get("step", 0))
    if start:
        workspace.say(f"going on from step {start}")
    tally = Tally(loss_sum, flops) if flops else None
    meter = open_meter(workspace, start, num_steps, unit, precision, tally)

    def learning_rate(step: int) -> float:
        return cosine_with_warmup(
            step, num_steps, config.peak, config.warmup_steps, config.final_share
        )

    def save(done: int, after: Flush | None) -> Flush:
        return write_checkpoint(
            workspace.checkpoints,
            done,
            modules,
            optimizers,
            {"guard": guard.state()},
            ranks=ranks,
            keep_every=keep_every,
            after=after,
        )

    saved: Flush | None = None
    with stop_requests() as stop, closing(meter):
        for report in train(
            optimizer=optimizer,
            micro_batches=micro_batches,
            loss_sum=tally or loss_sum,
            num_items=num_items,
            learning_rate=learning_rate,
            clip=config.clip,
            start=start,
            stop=num_steps,
            guard=guard,
            ranks=ranks,
        ):
            if report.verdict != "ok":
                _note_skipped(report, sample_ids(report.step) if sample_ids else (), workspace)
            yield report, meter
            done = report.step + 1
            # One rank that was asked is enough, and all have to leave after the same step.
            signal = ranks.most(stop.signal or 0)
            if done % checkpoint_every == 0 or done == num_steps or signal:
                saved = save(done, saved)
                if done == num_steps or signal:
                    saved.wait()
            if signal and done < num_steps:
                raise Stopped(signal)


def _note_skipped(report: StepReport, samples: Sequence[int], workspace: Workspace) -> None:
    note_skipped(
        workspace,
        f"step {report.step + 1} is left out: {report.verdict} (loss {report.loss:.3g}, gradient "
        f"{report.grad_norm:.3g})",
        {
            "step": report.step,
            "verdict": report.verdict,
            "loss": repr(report.loss),
            "grad_norm": repr(report.grad_norm),
            "samples": list(samples),
        },
    )


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where asked for: weights and reductions stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
