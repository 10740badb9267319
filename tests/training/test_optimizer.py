"""AdamW as the paper sets it, one step by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from arriero.training.optimizer import OptimizerConfig, adamw


def test_the_defaults_are_the_papers() -> None:
    config = OptimizerConfig()
    assert (config.peak, config.warmup_steps, config.final_share) == (3e-4, 2000, 0.1)
    assert (config.beta1, config.beta2, config.eps) == (0.9, 0.95, 1e-5)
    assert (config.weight_decay, config.clip) == (0.1, 1.0)
    with pytest.raises(ValidationError, match="beta3"):
        OptimizerConfig.model_validate({"beta3": 0.5})


def test_two_steps_by_hand() -> None:
    """A weight of 2 and a bias of 2 with gradients 0.5 and then -1; the bias is not decayed."""
    config = OptimizerConfig(peak=0.1, weight_decay=0.2, eps=1e-5)
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(2.0)
    optimizer = adamw([model], config)
    weight = bias = 2.0
    first = second = 0.0
    for number, gradient in enumerate((0.5, -1.0), start=1):
        model.weight.grad = torch.full((1, 1), gradient)
        model.bias.grad = torch.full((1,), gradient)
        optimizer.step()
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        update = (first / (1 - 0.9**number)) / ((second / (1 - 0.95**number)) ** 0.5 + 1e-5)
        weight = weight * (1 - 0.1 * 0.2) - 0.1 * update
        bias = bias - 0.1 * update
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
        assert model.bias.item() == pytest.approx(bias, rel=1e-6)


def test_frozen_parameters_stay_out() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].requires_grad_(False)
    parameters = [
        p for group in adamw([model], OptimizerConfig()).param_groups for p in group["params"]
    ]
    assert [id(p) for p in parameters] == [id(model[1].weight), id(model[1].bias)]


def test_several_modules_share_an_optimizer() -> None:
    parts = [torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)]
    matrices, vectors = adamw(parts, OptimizerConfig()).param_groups
    assert (len(matrices["params"]), len(vectors["params"])) == (1, 3)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
