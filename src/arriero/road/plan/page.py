"""A plan in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from arriero.data.batches import most_ranks
from arriero.road.plan.cost import TABLE_2, Cost, paper_row
from arriero.road.plan.devices import GIB, TERA, Device
from arriero.road.plan.memory import Parts
from arriero.road.plan.plan import USABLE, Plan, fits, mends
from arriero.road.plan.stages import StageMemory, sequence_length
from arriero.road.report.wording import count, decimal, duration

_PARTS = tuple(field.name for field in fields(Parts))


def render_plan(plan: Plan) -> str:
    """The whole plan: devices, memory by stage and part, what would mend it, time and carbon."""
    return "\n".join([*_head(plan), "", *_memory(plan), "", *_time(plan), "", *_carbon(plan)])


def misfit_line(plan: Plan) -> str:
    """One line about the first stage that is refused, and what makes it fit."""
    stage = plan.refused[0]
    line = (
        f"{stage.name} needs {_gib(stage.parts.total + plan.device.runtime)} GiB of a device's "
        f"{_gib(plan.device.memory)} ({plan.device.title}, {1 - USABLE:.0%} kept free)"
    )
    options = mends(plan, stage)
    return f"{line}; {' or '.join(options) or 'nothing in this recipe makes it fit'}"


def _head(plan: Plan) -> Iterator[str]:
    recipe, layout, device = plan.recipe, plan.layout, plan.device
    yield f"{recipe.name}: {recipe.model.num_parameters:,} parameters"
    if layout.is_divided:
        yield (
            f"{layout.devices:,} x {device.title}: {layout.data:,} data parallel x "
            f"{layout.tensor} tensor parallel"
        )
    else:
        yield f"one device: {device.title}"
    yield (
        f"a device: {_gib(device.memory)} GiB, {decimal(device.peak / TERA)} TFLOP/s, "
        f"{device.watts:g} W ({device.source})"
    )
    if not layout.recompute:
        yield "activations are kept; --parallel.recompute true keeps a block's input alone"


def _memory(plan: Plan) -> list[str]:
    most = max(stage.parts.total for stage in plan.stages)
    unit, name = (GIB, "GiB") if most > 4 * GIB else (GIB / 1024, "MiB")
    head = [f"{name} a device at its peak", *_PARTS, "runtime", "total", ""]
    rows = [_stage_row(stage, plan.device, unit) for stage in plan.stages]
    lines = _table([head, *rows])
    length = sequence_length(plan.recipe)
    lines.append(f"pairs and answers with their prompts are taken to be {length:,} tokens long")
    for stage in plan.stages:
        if stage.layout.devices < plan.layout.devices:
            lines.append(
                f"{stage.name}: {stage.batch} a step can be shared by {stage.layout.devices:,} "
                f"devices at most; more of them wait"
            )
    for stage in plan.misfits:
        options = mends(plan, stage)
        lines.append(
            f"{stage.name} fits with {', or '.join(options)}"
            if options
            else f"{stage.name}: nothing in this recipe makes it fit"
        )
    return lines


def _stage_row(stage: StageMemory, device: Device, unit: float) -> list[str]:
    parts = [getattr(stage.parts, name) for name in _PARTS]
    sizes = [*parts, device.runtime, stage.parts.total + device.runtime]
    verdict = "fits" if fits(stage, device) else "DOES NOT FIT"
    return [stage.name, *(f"{size / unit:,.1f}" if size else "-" for size in sizes), verdict]


def _time(plan: Plan) -> Iterator[str]:
    cost, device = plan.cost, plan.device
    config = plan.recipe.pretrain
    yield (
        f"pretraining: {count(cost.num_tokens)} tokens in {cost.num_steps:,} steps of "
        f"{config.rows_per_step * config.row_length:,}"
    )
    yield (
        f"utilisation {100 * cost.utilisation:.3f}% of {decimal(device.peak / TERA)} TFLOP/s "
        f"({plan.utilisation_source}; --utilisation for another)"
    )
    yield f"a step {duration(cost.step_s)}, {count(cost.tokens_s)} tokens/s"
    yield f"from beginning to end {_days(cost.wall_s)}{_on_most(plan)}"


def _on_most(plan: Plan) -> str:
    """What the most devices that could share a step would take."""
    if not plan.device.is_gpu:
        return ""
    config = plan.recipe.pretrain
    ranks = most_ranks(config.rows_per_step, 1024)
    devices = ranks * plan.layout.tensor
    if devices <= plan.layout.devices:
        return ""
    return f"; {_days(plan.cost.hours * 3600 / devices)} on {devices:,} devices"


def _carbon(plan: Plan) -> list[str]:
    row = paper_row(plan.recipe.model)
    rows = [["", "device hours", "W", "MWh", "tCO2eq"], ["this plan", *_cost_cells(plan.cost)]]
    if row is not None:
        rows.append(
            [
                f"paper, Table 2, {row.name}",
                f"{row.hours:,.0f}",
                f"{row.watts:g}",
                f"{row.hours * row.watts / 1e6:,.2f}",
                f"{_cut(row.tonnes)}",
            ]
        )
    lines = _table(rows)
    if row is not None:
        total = sum(one.tonnes for one in TABLE_2)
        lines.append(
            f"the paper's hours are {100 * row.utilisation:.3f}% of 312 TFLOP/s at 2T tokens; "
            f"its four sizes together {total:.2f} t"
        )
    intensity = plan.recipe.carbon_intensity
    lines.append(f"power of the devices alone, {intensity:g} kg CO2eq a kWh")
    return lines


def _cost_cells(cost: Cost) -> list[str]:
    if cost.hours >= 100:
        return [
            f"{cost.hours:,.0f}",
            f"{cost.watts:g}",
            f"{cost.kwh / 1000:,.2f}",
            _cut(cost.tonnes),
        ]
    return [
        decimal(cost.hours),
        f"{cost.watts:g}",
        decimal(cost.kwh / 1000),
        decimal(cost.tonnes),
    ]


def _cut(tonnes: float) -> str:
    """Two decimals, cut and not rounded, as Table 2 has them."""
    return f"{int(tonnes * 100) / 100:,.2f}"


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:,.1f} days" if seconds > 2 * 86_400 else duration(seconds)


def _gib(size: float) -> str:
    gib = size / GIB
    return f"{gib:,.1f}" if gib >= 10 else f"{gib:.2f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
