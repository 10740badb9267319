"""Puts a plan together: which devices, what lies on them, what it takes, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from arriero.records import UserError
from arriero.road.forecast import matmul_flops
from arriero.road.plan.cost import Cost, default_utilisation, paper_row, pretraining_cost
from arriero.road.plan.devices import (
    CPU,
    DEVICES,
    PAPERS_DEVICE,
    Device,
    device_named,
    this_machine,
)
from arriero.road.plan.layout import Layout, check_batch, check_layout
from arriero.road.plan.stages import DECIDING_STAGES, StageMemory, stage_memory
from arriero.road.recipe import Recipe

# What memory that lies in pieces costs; a guess.
USABLE = 0.92
_MOST_DEVICES = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe on its devices.

    Attributes:
        stages: in order, each at its peak.
        utilisation_source: where the utilisation of `cost` comes from.
    """

    recipe: Recipe
    device: Device
    layout: Layout
    stages: list[StageMemory]
    cost: Cost
    utilisation_source: str

    @property
    def misfits(self) -> list[StageMemory]:
        """The stages that do not fit."""
        return [stage for stage in self.stages if not fits(stage, self.device)]

    @property
    def refused(self) -> list[StageMemory]:
        """Those of them that say how many devices a job needs; on one device, all.

        That PPO does not fit on several is told, no more: the stages before it still run there.
        """
        return [s for s in self.misfits if s.name in DECIDING_STAGES or not self.layout.is_divided]


def fits(stage: StageMemory, device: Device) -> bool:
    """Whether a stage leaves a device room to breathe."""
    return stage.parts.total + device.runtime <= USABLE * device.memory


def make_plan(
    recipe: Recipe,
    *,
    devices: int | None = None,
    device: str | None = None,
    tensor: int | None = None,
    utilisation: float | None = None,
    watts_given: bool = False,
) -> Plan:
    """Plan a recipe without touching a device.

    Args:
        devices: how many; if left out, the fewest of 1, 2, 4, ... that all stages fit on but PPO,
            whose sampler needs the whole policy on each.
        device: its name; if left out, the paper's for the four published sizes and this machine's
            CPU for all others.
        tensor: tensor-parallel ranks; the recipe's if left out.
        utilisation: share of the peak, above 0 and at most 1; an assumption if left out.
        watts_given: whether the recipe's watts are asked for in so many words; where they are not,
            a device that is named draws what its maker says.

    Raises:
        UserError: an unknown device, what does not divide, a utilisation that is no share.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise UserError(f"--utilisation {utilisation} is no share; name one such as 0.4")
    tensor = recipe.parallel.tensor if tensor is None else tensor
    check_layout(recipe.model, tensor if devices is None else devices, tensor)
    name = device or (PAPERS_DEVICE if paper_row(recipe.model) else CPU)
    if name == CPU:
        devices = devices or tensor
        chosen = this_machine(devices, _cpu_flops(recipe), recipe.watts)
    else:
        chosen = device_named(name)
        devices = devices or _fewest(recipe, DECIDING_STAGES, chosen, tensor, tensor) or tensor
    layout = Layout(devices, tensor, recipe.parallel.recompute, chosen.is_gpu)
    check_batch(recipe, layout)
    watts = chosen.watts
    if chosen.is_gpu and (device is None or watts_given):
        watts = recipe.watts
    assumed, source = default_utilisation(recipe, chosen)
    if utilisation is not None:
        assumed, source = utilisation, "given"
    return Plan(
        recipe,
        chosen,
        layout,
        stage_memory(recipe, layout),
        pretraining_cost(recipe, chosen, devices, assumed, watts),
        source,
    )


def mends(plan: Plan, stage: StageMemory) -> list[str]:
    """Options that make a stage fit, each enough; several in one where none is."""
    recipe, layout, device = plan.recipe, plan.layout, plan.device
    changes = _changes(recipe, layout, stage.name)
    found: dict[str, Mapping[str, Any]] = {}
    for change in changes:
        if _fits(recipe, change, stage.name, layout, device):
            found.setdefault(next(iter(change)), change)
    together = {key: value for change in changes for key, value in change.items()}
    if not found and _fits(recipe, together, stage.name, layout, device):
        found[""] = together
    options = [_options(change) for change in found.values()]
    if not device.is_gpu:
        return options
    devices = _fewest(recipe, (stage.name,), device, layout.tensor, 2 * layout.devices)
    if devices:
        options.append(f"--devices {devices}")
    for other in sorted(DEVICES.values(), key=lambda one: one.memory):
        if other.memory > device.memory and _fits(recipe, {}, stage.name, layout, other):
            options.append(f"--device {other.name}")
            break
    if not options:
        changed = _changed_all(recipe, together)
        devices = _fewest(changed, (stage.name,), device, layout.tensor, 2 * layout.devices)
        if devices:
            options.append(f"{_options(together)} --devices {devices}".strip())
    return options


def _changes(recipe: Recipe, layout: Layout, name: str) -> list[dict[str, Any]]:
    """What a stage's need could be lowered by, the mildest first."""
    changes: list[dict[str, Any]] = []
    if not layout.recompute:
        changes.append({"parallel.recompute": True})
    key = {"pretrain": "micro_rows", "sft": "micro_rows", "reward": "micro_pairs"}.get(name)
    if key is not None:
        smaller = getattr(getattr(recipe, name), key)
        while smaller > 1:
            smaller //= 2
            changes.append({f"{name}.{key}": smaller})
    if name != "pretrain" and layout.tensor == 1:  # adapters cannot be cut up
        changes.append({f"{name}.lora.rank": 16})
    return changes


def _options(change: Mapping[str, Any]) -> str:
    """Keys and values as the command line takes them."""
    return " ".join(f"--{key} {str(value).lower()}" for key, value in change.items())


def _fits(
    recipe: Recipe, change: Mapping[str, Any], name: str, layout: Layout, device: Device
) -> bool:
    """Whether one stage fits once the recipe has been changed."""
    recipe = _changed_all(recipe, change)
    again = replace(layout, recompute=recipe.parallel.recompute)
    return fits(stage_memory(recipe, again, (name,))[0], device)


def _changed_all(recipe: Recipe, change: Mapping[str, Any]) -> Recipe:
    for key, value in change.items():
        recipe = _changed(recipe, key.split("."), value)
    return recipe


def _changed(config: Any, path: list[str], value: Any) -> Any:
    """A configuration with one key changed, which lies as deep as its path is long."""
    name, *rest = path
    inner = _changed(getattr(config, name), rest, value) if rest else value
    return config.model_copy(update={name: inner})


def _fewest(
    recipe: Recipe, names: tuple[str, ...], device: Device, tensor: int, begin: int
) -> int | None:
    """The fewest devices that the stages fit on: `begin`, twice as many, ... as the batch allows.

    Ranks on one CPU share its memory: more of them make nothing fit.
    """
    devices = begin
    rows = recipe.pretrain.rows_per_step
    while devices <= _MOST_DEVICES and rows % (devices // tensor) == 0:
        layout = Layout(devices, tensor, recipe.parallel.recompute, device.is_gpu)
        if all(fits(stage, device) for stage in stage_memory(recipe, layout, names)):
            return devices
        devices *= 2
    return None


def _cpu_flops(recipe: Recipe) -> float:
    """What this machine's matrix products reach, in the type that pretraining uses."""
    on_cpu = recipe.model_copy(update={"device": "cpu"})
    return matmul_flops(on_cpu, recipe.pretrain.precision)
