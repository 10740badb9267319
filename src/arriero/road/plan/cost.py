"""Time, energy and carbon of pretraining at a stated utilisation, and the paper's own (Table 2).

Utilisation is the share of a device's peak that the model's own operations make up; what is
computed again in the backward pass does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from arriero.equations.carbon import co2_tonnes, energy_kwh
from arriero.model.config import LLAMA2_7B, LLAMA2_13B, LLAMA2_34B, LLAMA2_70B, ModelConfig
from arriero.road.plan.devices import DEVICES, PAPERS_DEVICE, Device
from arriero.road.recipe import Recipe

# What well-tuned jobs reach on GPUs, and small models on a CPU: assumptions, both.
_GPU_UTILISATION = 0.4
_CPU_UTILISATION = 0.45


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of Table 2: device hours and power of one device in W."""

    name: str
    model: ModelConfig
    hours: float
    watts: float

    @property
    def tonnes(self) -> float:
        """tCO2eq, uncut."""
        return co2_tonnes(self.hours, self.watts)

    @property
    def utilisation(self) -> float:
        """What the hours come to for 2T tokens at a length of 4,096 on the paper's device."""
        flops = PAPERS_TOKENS * self.model.flops_per_token(self.model.context)
        return flops / (self.hours * 3600 * DEVICES[PAPERS_DEVICE].peak)


PAPERS_TOKENS = 2e12
TABLE_2 = (
    PaperRow("7B", LLAMA2_7B, 184_320, 400),
    PaperRow("13B", LLAMA2_13B, 368_640, 400),
    PaperRow("34B", LLAMA2_34B, 1_038_336, 350),
    PaperRow("70B", LLAMA2_70B, 1_720_320, 400),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Pretraining on `devices` devices.

    Attributes:
        flops: operations of a step, forward and backward.
        step_s: seconds a step.
        tokens_s: tokens a second, all devices together.
        hours: device hours.
        kwh, tonnes: energy, and tCO2eq.
    """

    devices: int
    utilisation: float
    watts: float
    num_tokens: int
    num_steps: int
    flops: float
    step_s: float
    tokens_s: float
    hours: float
    kwh: float
    tonnes: float

    @property
    def wall_s(self) -> float:
        """Seconds from beginning to end."""
        return self.hours * 3600 / self.devices


def paper_row(model: ModelConfig) -> PaperRow | None:
    """The row of Table 2 of one of the four published sizes."""
    return next((row for row in TABLE_2 if row.model == model), None)


def default_utilisation(recipe: Recipe, device: Device) -> tuple[float, str]:
    """A utilisation, and where it comes from.

    On the paper's device a published size reaches what Table 2 implies.
    """
    row = paper_row(recipe.model)
    if row is not None and device.name == PAPERS_DEVICE:
        return row.utilisation, "what the hours of Table 2 come to"
    if device.is_gpu:
        return _GPU_UTILISATION, "assumed"
    return _CPU_UTILISATION, "assumed, of the matrix products measured here"


def pretraining_cost(
    recipe: Recipe, device: Device, devices: int, utilisation: float, watts: float
) -> Cost:
    """What pretraining takes.

    Worked example: 7B on A100s at 41.41% of 312 TFLOP/s: 2T tokens x 42.87 GFLOP / 129.2 TFLOP/s
    = 184,320 h.
    """
    config = recipe.pretrain
    tokens_a_step = config.rows_per_step * config.row_length
    flops = tokens_a_step * recipe.model.flops_per_token(config.row_length)
    step_s = flops / (devices * device.peak * utilisation)
    # Of the tokens asked for; the steps are a whole number and may leave out a part of one.
    hours = config.num_tokens / tokens_a_step * step_s * devices / 3600
    return Cost(
        devices=devices,
        utilisation=utilisation,
        watts=watts,
        num_tokens=config.num_tokens,
        num_steps=config.num_steps,
        flops=flops,
        step_s=step_s,
        tokens_s=tokens_a_step / step_s,
        hours=hours,
        kwh=energy_kwh(hours, watts),
        tonnes=co2_tonnes(hours, watts, recipe.carbon_intensity),
    )
