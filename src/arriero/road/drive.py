"""A whole run from its recipe: forecast, stations, report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from arriero.native.build import native
from arriero.records import UserError
from arriero.road.forecast import forecast
from arriero.road.lineage import write_lineage
from arriero.road.lock import locked
from arriero.road.manifest import current_stages, read_manifest
from arriero.road.plan.layout import check_adapters, check_batches, check_tensor
from arriero.road.recipe import Recipe, load_recipe
from arriero.road.report import write_report
from arriero.road.run import Step, choose_device, forget, run_steps, say_nothing
from arriero.road.stations import names_in, stations
from arriero.stages.evaluate_judge import look_for_judge
from arriero.stages.workspace import Ranks, end_ranks, start_ranks


def drive(
    recipe: Recipe,
    run: Path,
    say: Callable[[str], None],
    *,
    until: str | None = None,
    restart_from: str | None = None,
    only: str | None = None,
) -> Path | None:
    """Run a recipe into a folder and write its report; returns the report's path.

    Under torchrun every rank calls this; all but the first return None.

    Args:
        until: verb or folder name of the last stage to run; the last one if left out.
        restart_from: verb or folder name of the first stage to do again, and all after it.
        only: verb of the stages that may run; all before them must be done already.

    Raises:
        UserError: no such stage, too little disk, a batch or a matrix that the ranks cannot share,
            a folder that cannot be written to, a judge that refuses its key, or anything a stage
            asks to be mended.
    """
    recipe.figures.check()
    ranks = start_ranks(recipe.parallel, choose_device(recipe))
    try:
        speaks = say if ranks.is_first else say_nothing
        return _drive(recipe, run, speaks, ranks, until, restart_from, only)
    finally:
        end_ranks(ranks)


def _drive(
    recipe: Recipe,
    run: Path,
    say: Callable[[str], None],
    ranks: Ranks,
    until: str | None,
    restart_from: str | None,
    only: str | None,
) -> Path | None:
    steps = stations(recipe, run)
    first = None if restart_from is None else _position(steps, restart_from, last=False)
    if until is not None:
        steps = steps[: _position(steps, until, last=True) + 1]
    again = [] if first is None else steps[first:]
    if first is not None and not again:
        raise UserError(f"--from {restart_from} comes after --until {until}")
    allowed = None
    if only is not None:
        steps = steps[: _position(steps, only, last=True) + 1]
        allowed = [step.name for step in steps if step.verb == only]
        if not run.is_dir():
            raise UserError(f"{run}: no such run; `arriero run` makes one")
    changed = _first_changed(steps, run)
    to_do = [
        step
        for number, step in enumerate(steps)
        if number >= changed or step in again or read_manifest(run / step.name) is None
    ]
    shared = {s.verb for s in to_do if s.is_parallel and (allowed is None or s.name in allowed)}
    check_tensor(recipe, shared)
    check_batches(recipe, shared, ranks.dp_size)
    check_adapters(recipe, shared)
    _check_writable(run, to_do)
    _say_forecast(recipe, run, say)
    if choose_device(recipe).type == "cpu" and native().library is None:
        say(f"nothing is compiled, so sampling takes two to six times as long: {native().why}")
    if not ranks.is_first:
        run_steps(steps, recipe, run, say, only=allowed, ranks=ranks)
        return None
    if any(s.verb == "evaluate" and (allowed is None or s.name in allowed) for s in to_do):
        look_for_judge(recipe.evaluate.judge, say)
    # Only now, when nothing is left that could refuse the command.
    with locked(run):
        for step in again:
            forget(run / step.name)
        try:
            run_steps(steps, recipe, run, say, only=allowed, ranks=ranks)
        finally:
            write_lineage(stations(recipe, run), run)
        report = write_report(run)
    say(f"report: {report}")
    return report


def _first_changed(steps: Sequence[Step], run: Path) -> int:
    """Place of the first step that the run's own recipe had otherwise, if it can be read."""
    try:
        before = {
            step.name: step.config for step in stations(load_recipe(str(run / "recipe.toml")), run)
        }
    except (OSError, UserError):
        return 0
    places = (n for n, step in enumerate(steps) if before.get(step.name) != step.config)
    return next(places, len(steps))


def newest_chat_model(run: Path, *, before: int | None = None) -> Path | None:
    """The folder of the newest chat model in a run, if there is one.

    Args:
        before: only of the versions before this one.
    """
    current = current_stages(run)
    found = [name for name in names_in(run).policies(before=before) if name in current]
    return run / found[-1] / "model" if found else None


def _check_writable(run: Path, steps: Sequence[Step]) -> None:
    """Now, not hours later when the stage begins; the run's own folder is asked by its lock."""
    for folder in (run / step.name for step in steps):
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise UserError(
                f"{folder} cannot be written to; mend its permissions, or name another run "
                "with --run"
            )


def _position(steps: Sequence[Step], name: str, *, last: bool) -> int:
    """Index of the first or last step with that verb or folder name."""
    found = [index for index, step in enumerate(steps) if name in (step.verb, step.name)]
    if not found:
        verbs = dict.fromkeys(step.verb for step in steps)
        raise UserError(f"no stage {name!r}; there are {', '.join(verbs)}")
    return found[-1 if last else 0]


def _say_forecast(recipe: Recipe, run: Path, say: Callable[[str], None]) -> None:
    expected = forecast(recipe)
    say(
        f"{recipe.name}: {recipe.model.num_parameters:,} parameters, "
        f"about {expected.minutes:.0f} min on this machine and {expected.disk_gb:.2f} GB of disk"
    )
    existing = next(path for path in (run, *run.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < expected.disk_gb:
        raise UserError(
            f"{run}: {free:.2f} GB of disk are free, the run needs about "
            f"{expected.disk_gb:.2f} GB; free some or name another folder with --run"
        )
