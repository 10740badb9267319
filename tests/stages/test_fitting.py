"""Resume, schedule and checkpoints, shared by all stages that train."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from arriero.equations.schedule import cosine_with_warmup
from arriero.records import Stopped, UserError
from arriero.stages.fitting import autocast, fit
from arriero.stages.workspace import Workspace
from arriero.training.loop import StepReport
from arriero.training.meters import Meter
from arriero.training.optimizer import OptimizerConfig

from .conftest import NewWorkspace, metrics

CONFIG = OptimizerConfig(peak=0.05, warmup_steps=3)
CPU = torch.device("cpu")


class Line(torch.nn.Module):
    """y = w x, to be fitted to y = 3 x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[0.5]]))

    def loss(self, x: Tensor) -> Tensor:
        return ((self.weight * x - 3 * x) ** 2).sum()


def steps(model: Line, space: Workspace, num_steps: int = 10) -> Iterator[tuple[StepReport, Meter]]:
    return fit(
        model,
        CONFIG,
        space,
        num_steps=num_steps,
        checkpoint_every=4,
        micro_batches=lambda step: [torch.tensor([1.0 + step]), torch.tensor([2.0])],
        loss_sum=model.loss,
        num_items=len,
        unit="numbers",
    )


def finish(model: Line, space: Workspace) -> None:
    for report, meter in steps(model, space):
        meter.record(report)


def test_the_rate_is_the_cosine(workspace: NewWorkspace) -> None:
    space = workspace()
    finish(Line(), space)
    rates = [line["lr"] for line in metrics(space)]
    assert rates == [cosine_with_warmup(step, 10, 0.05, 3, 0.1) for step in range(10)]
    assert rates[-1] == pytest.approx(0.005)


@pytest.mark.parametrize("stopped_at", [2, 5, 9])
def test_a_stopped_fit_goes_on_bit_equal(workspace: NewWorkspace, stopped_at: int) -> None:
    whole, space = Line(), workspace("whole")
    finish(whole, space)
    stopped = workspace("stopped")
    for report, meter in steps(Line(), stopped):
        meter.record(report)
        if report.step == stopped_at:
            break
    again = Line()
    finish(again, stopped)
    assert torch.equal(again.weight, whole.weight)
    kept = [[(m["step"], m["loss"], m["lr"]) for m in metrics(s)] for s in (space, stopped)]
    assert kept[0] == kept[1]


def test_a_finished_fit_has_no_step_left_and_knows_its_last_one(workspace: NewWorkspace) -> None:
    space = workspace()
    finish(Line(), space)
    loss = metrics(space)[-1]["loss"]
    again = Line()
    assert list(steps(again, space)) == []
    assert again.weight.item() != 0.5
    assert space.last_metrics()["loss"] == loss


def test_the_newest_two_checkpoints_stay(workspace: NewWorkspace) -> None:
    space = workspace()
    finish(Line(), space)
    assert [p.name for p in sorted(space.checkpoints.iterdir())] == [
        "step-00000008",
        "step-00000010",
    ]


def test_asked_to_stop_it_saves_and_goes_on_bit_equal(workspace: NewWorkspace) -> None:
    whole, space = Line(), workspace("whole")
    finish(whole, space)
    stopped = workspace("stopped")

    def asked_after_five() -> None:
        for report, meter in steps(Line(), stopped):
            meter.record(report)
            if report.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as raised:
        asked_after_five()
    assert raised.value.signal == signal.SIGTERM
    assert (stopped.checkpoints / "step-00000006").is_dir()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = Line()
    finish(again, stopped)
    assert torch.equal(again.weight, whole.weight)


def test_a_step_that_is_left_out_names_its_samples_and_three_end_it(
    workspace: NewWorkspace,
) -> None:
    space, model = workspace(), Line()
    broken = {3, 5, 6, 7}

    def loss_sum(x: Tensor) -> Tensor:
        step = int(x[0]) - 1
        return model.loss(x) * (float("nan") if step in broken else 1.0)

    reports = fit(
        model,
        CONFIG,
        space,
        num_steps=10,
        checkpoint_every=4,
        micro_batches=lambda step: [torch.tensor([1.0 + step])],
        loss_sum=loss_sum,
        num_items=len,
        unit="numbers",
        sample_ids=lambda step: [10 * step, 10 * step + 1],
    )
    with pytest.raises(UserError, match="3 steps up to step 7"):
        list(reports)
    skipped = (space.folder / "skipped.jsonl").read_text()
    lines = [json.loads(line) for line in skipped.splitlines()]
    assert [(line["step"], line["samples"], line["verdict"]) for line in lines] == [
        (step, [10 * step, 10 * step + 1], "not finite") for step in sorted(broken)
    ]
    # Steps that were left out left the weights as they were.
    assert (space.checkpoints / "step-00000004").is_dir()
    assert bool(torch.isfinite(model.weight).all())


def test_milestones_stay(workspace: NewWorkspace) -> None:
    space, model = workspace(), Line()
    for report, meter in fit(
        model,
        CONFIG,
        space,
        num_steps=12,
        checkpoint_every=2,
        micro_batches=lambda step: [torch.tensor([1.0 + step])],
        loss_sum=model.loss,
        num_items=len,
        unit="numbers",
        keep_every=4,
    ):
        meter.record(report)
    kept = [path.name for path in sorted(space.checkpoints.iterdir())]
    assert kept == [f"step-{step:08d}" for step in (4, 8, 10, 12)]


def test_bfloat16_is_for_products_alone() -> None:
    x = torch.ones(2, 2, requires_grad=True)
    with autocast("bfloat16", CPU):
        assert (x @ x).dtype == torch.bfloat16
        assert x.dtype == torch.float32
    with autocast("float32", CPU):
        assert (x @ x).dtype == torch.float32
