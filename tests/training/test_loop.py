"""The loop: global normalisation, AdamW's own step, skipped steps."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from arriero.records import UserError
from arriero.training.loop import StepReport, train
from arriero.training.optimizer import OptimizerConfig, adamw

CONFIG = OptimizerConfig(peak=1e-2, warmup_steps=0)


def model_and_items(seed: int = 0) -> tuple[torch.nn.Linear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(4, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    x = torch.randn(12, 4, generator=generator)
    return model, x, torch.randn(12, 1, generator=generator)


def run(
    model: torch.nn.Linear, x: Tensor, y: Tensor, splits: list[int], steps: int = 3
) -> list[StepReport]:
    optimizer = adamw([model], CONFIG)

    def loss_sum(rows: range) -> Tensor:
        chosen = torch.tensor(list(rows), dtype=torch.int64)
        return (model(x[chosen]) - y[chosen]).square().sum()

    edges = [0, *torch.tensor(splits).cumsum(0).tolist()]
    batches = [range(a, b) for a, b in pairwise(edges)]
    return list(
        train(
            optimizer=optimizer,
            micro_batches=lambda step: batches,
            loss_sum=loss_sum,
            num_items=len,
            learning_rate=lambda step: CONFIG.peak,
            clip=CONFIG.clip,
            start=0,
            stop=steps,
        )
    )


@pytest.mark.parametrize("splits", [[6, 6], [1, 11], [5, 0, 4, 3]])
def test_accumulation_does_not_change_a_step(splits: list[int]) -> None:
    """Unequal micro-batches, an empty one too: a mean of means would differ."""
    model, x, y = model_and_items()
    other = copy.deepcopy(model)
    whole = run(model, x, y, [12])
    parts = run(other, x, y, splits)
    for a, b in zip(whole, parts, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    torch.testing.assert_close(model.weight, other.weight, atol=1e-6, rtol=1e-5)


def test_a_step_is_torch_adamw_with_clipping() -> None:
    model, x, y = model_and_items()
    other = copy.deepcopy(model)
    reports = run(model, x, y, [12], steps=1)
    plain = torch.optim.AdamW(
        [
            {"params": [other.weight], "weight_decay": CONFIG.weight_decay},
            {"params": [other.bias], "weight_decay": 0.0},
        ],
        lr=CONFIG.peak,
        betas=(0.9, 0.95),
        eps=1e-5,
    )
    (other(x) - y).square().mean().backward()
    norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    assert float(norm) > 1.0  # so that clipping really changes something
    plain.step()
    assert reports[0].grad_norm == pytest.approx(float(norm), rel=1e-5)
    torch.testing.assert_close(model.weight, other.weight, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(model.bias, other.bias, atol=1e-6, rtol=1e-5)


def test_a_step_that_is_not_finite_changes_nothing_and_three_stop_the_run() -> None:
    model, x, y = model_and_items()
    before = model.weight.detach().clone()
    optimizer = adamw([model], CONFIG)
    seen: list[StepReport] = []
    reports = train(
        optimizer=optimizer,
        micro_batches=lambda step: [step],
        loss_sum=lambda step: (model(x) - y).sum() * float("nan"),
        num_items=lambda step: 12,
        learning_rate=lambda step: 1e-2,
        clip=1.0,
        start=0,
        stop=10,
    )
    with pytest.raises(UserError, match="3 steps up to step 2"):
        seen.extend(reports)
    assert [report.verdict for report in seen] == ["not finite"] * 3
    assert torch.equal(model.weight, before)


def test_norms_are_not_decayed() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    matrices, vectors = adamw([model], CONFIG).param_groups
    assert matrices["weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0.0
    assert len(matrices["params"]) == 1
    assert len(vectors["params"]) == 3
