"""AdamW as in section 2.2, with weight decay on matrices only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn


class OptimizerConfig(BaseModel):
    """AdamW and its schedule; the defaults are the paper's for pretraining at 7B."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peak: float = Field(default=3e-4, gt=0, description="peak learning rate; 3e-4 at 7B and 13B")
    warmup_steps: int = Field(default=2000, ge=0, description="steps of linear warm-up; 2,000")
    final_share: float = Field(default=0.1, ge=0, le=1, description="last rate over the peak; 0.1")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="first moment decay; 0.9")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="second moment decay; 0.95")
    eps: float = Field(default=1e-5, gt=0, description="epsilon; 1e-5")
    weight_decay: float = Field(default=0.1, ge=0, description="decoupled weight decay; 0.1")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm; 1.0")


def completed_by(defaults: BaseModel) -> BeforeValidator:
    """Keys that a recipe leaves out come from these defaults, not from those of their class."""

    def complete(given: object) -> object:
        return {**defaults.model_dump(), **given} if isinstance(given, dict) else given

    return BeforeValidator(complete)


def adamw(modules: Iterable[nn.Module], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of `modules`; norms are not decayed.

    The paper gives one weight decay and no exception; leaving vectors out is the field's habit.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.peak,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
