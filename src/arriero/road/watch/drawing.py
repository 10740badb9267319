"""Draws a run as it is at one moment: its stages, and the figures of the one under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from arriero.road.report.folder import number
from arriero.road.report.wording import carbon, decimal, duration, energy, percent
from arriero.road.watch.following import RunView, StageView, State

_RAMP = "▁▂▃▄▅▆▇█"
_ASCII_RAMP = "_.,-~=*#"
_SPARK_WIDTH = 40
_LABEL_WIDTH = 13
_MARKS: dict[State, str] = {"done": "✓", "under way": "▶", "out of date": "!", "to come": "·"}
_ASCII_MARKS: dict[State, str] = {"done": "x", "under way": ">", "out of date": "!", "to come": " "}
_STYLES: dict[State, str] = {
    "done": "green",
    "under way": "bold",
    "out of date": "yellow",
    "to come": "dim",
}
# After so long without a word a stage may be gone rather than busy.
_LONG_SILENCE = 120.0


def draw(view: RunView, *, ascii_only: bool = False) -> RenderableType:
    """The whole picture; with `ascii_only` for terminals that know no other signs."""
    if not view.stages:
        return Text(f"{view.name}: nothing has begun yet")
    done = sum(stage.state == "done" for stage in view.stages)
    head = Text(f"{view.name}: {done} of {len(view.stages)} stages done", style="bold")
    head.append(f", {energy(view.energy_wh)} and {carbon(view.co2_g)} CO2eq so far", style="dim")
    parts: list[RenderableType] = [head, _stages(view.stages, ascii_only)]
    if any(stage.state == "under way" for stage in view.stages):
        parts.append(_under_way(view, ascii_only))
    elif view.is_finished:
        parts.append(Text("finished; the report is written", style="green"))
    return Group(*parts)


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH, ramp: str = _RAMP) -> str:
    """Means of `width` equal parts of a series, each a sign from the lowest to the highest.

    Worked example: 0, 0, 5, 10 in a width of 2 -> means 0 and 7.5 -> `▁█`.
    """
    if not values:
        return ""
    width = min(width, len(values))
    edges = [index * len(values) // width for index in range(width + 1)]
    means = [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    low, high = min(means), max(means)
    top = len(ramp) - 1
    if high <= low:
        return ramp[0] * width
    return "".join(ramp[round((mean - low) / (high - low) * top)] for mean in means)


def _stages(stages: Sequence[StageView], ascii_only: bool) -> Table:
    marks = _ASCII_MARKS if ascii_only else _MARKS
    table = Table.grid(padding=(0, 2))
    for stage in stages:
        took = "" if stage.seconds is None else duration(stage.seconds)
        words = "made from what has changed since" if stage.state == "out of date" else took
        table.add_row(marks[stage.state], stage.name, words, style=_STYLES[stage.state])
    return table


def _under_way(view: RunView, ascii_only: bool) -> RenderableType:
    last = view.last or {}
    parts: list[RenderableType] = [Text(), *_progress(view, last)]
    curves, table = _grid(), _grid()
    ramp = _ASCII_RAMP if ascii_only else _RAMP
    for name, label, digits in (
        ("loss", "loss", 4),
        ("reward", "reward", 3),
        ("kl", "KL", 3),
        ("grad_norm", "grad norm", 3),
    ):
        if values := (view.series or {}).get(name):
            curves.add_row(label, decimal(values[-1], digits), sparkline(values, ramp=ramp))
    for label, value in _others(last):
        table.add_row(label, value)
    if view.skipped:
        table.add_row("skipped", f"{view.skipped} steps", style="yellow")
    parts += [part for part in (curves, table) if part.row_count]
    silence = view.silent_seconds
    if silence is not None:
        words = f"last written to {duration(silence)} ago"
        if silence > _LONG_SILENCE:
            words += "; if it was stopped, the same command goes on where it was"
        parts.append(Text(words, style="yellow" if silence > _LONG_SILENCE else "dim"))
    return Group(*parts)


def _grid() -> Table:
    """A label and what stands beside it; grids below one another stand in line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(min_width=_LABEL_WIDTH)
    return grid


def _progress(view: RunView, last: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A line of the step and the time left, and a bar, where the stage counts steps."""
    step, num_steps = number(last.get("step")), number(last.get("num_steps"))
    elapsed = number(last.get("elapsed_s"))
    if step is None:
        return
    done = step + 1
    words = f"step {done:,.0f}"
    if num_steps:
        words += f" of {num_steps:,.0f}, {percent(done / num_steps, 0)}"
    if elapsed is not None:
        words += f", {duration(elapsed)} spent"
    if view.seconds_left is not None:
        words += f", {duration(view.seconds_left)} left"
    yield Text(words)
    if num_steps:
        bar = Table.grid()  # a bar by itself ends no line
        bar.add_row(ProgressBar(total=num_steps, completed=done, width=_SPARK_WIDTH + 20))
        yield bar


def _others(last: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and value of the figures that are shown without their history."""
    valid = number(last.get("valid_loss"))
    if valid is not None:
        yield "held-out loss", decimal(valid, 4)
    for key, value in last.items():
        rate = number(value)
        if key.endswith("_per_s") and rate is not None:
            yield f"{key.removesuffix('_per_s')}/s", decimal(rate)
    mfu = number(last.get("mfu"))
    if mfu is not None:
        yield "MFU", percent(mfu)
    now, peak = number(last.get("memory_gb")), number(last.get("memory_peak_gb"))
    if peak is not None:
        held = "" if now is None else f"{decimal(now)} GB, "
        yield "memory", f"{held}{decimal(peak)} GB at most"
    waiting = number(last.get("data_wait_share"))
    if waiting is not None:
        yield "data wait", percent(waiting)
    spent, carbon_grams = number(last.get("energy_wh")), number(last.get("co2_g"))
    if spent is not None:
        yield "energy", f"{energy(spent)}, {carbon(carbon_grams)} CO2eq"
