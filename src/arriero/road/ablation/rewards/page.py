"""A study's page and figures: what is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arriero.records import UserError
from arriero.road.ablation.rewards.material import (
    Material,
    make_material,
    material_of,
)
from arriero.road.ablation.rewards.training import Variant, folders, training_steps
from arriero.road.lock import locked
from arriero.road.recipe import Recipe
from arriero.road.report.blocks import Block, Cell, Milestone, Section
from arriero.road.report.costs import costs_section
from arriero.road.report.folder import read_run
from arriero.road.report.page import render_page, run_facts, write_page
from arriero.road.report.wording import duration, percent
from arriero.road.run import run_steps
from arriero.stages.workspace import write_json

Say = Callable[[str], None]
Json = dict[str, Any]
Names = Mapping[str, Sequence[str]]

ROLES = ("blue", "amber", "green", "purple", "vermilion", "sky")


@dataclass(frozen=True)
class Study:
    """One question to reward training.

    Attributes:
        name: as on the command line.
        title: of its section.
        lead: what it is about, a sentence or two.
        variants: what is trained, by recipe and material.
        summarize: figures for results.json, by recipe, folder and names of the trainings.
        blocks: tables and figures, by those figures.
        make: makes what it starts from where no run is given.
        most_runs: how many runs it may start from.
    """

    name: str
    title: str
    lead: str
    variants: Callable[[Recipe, Material], list[Variant]]
    summarize: Callable[[Recipe, Path, Names], Json]
    blocks: Callable[[Json], list[Block]]
    make: Callable[[Recipe, Path, Say], Material] = make_material
    most_runs: int = 1


def run_study(
    study: Study, recipe: Recipe, run: Path, say: Say, from_runs: Sequence[Path] = ()
) -> Path:
    """Train, measure and write `report.html` and `results.json` into `run`; returns the report.

    What is done already, by the manifests of its steps, is not done again.

    Raises:
        UserError: a run to start from lacks something, or there are too many of them.
    """
    if len(from_runs) > study.most_runs:
        most = "one run" if study.most_runs == 1 else f"{study.most_runs} runs at most"
        raise UserError(f"ablate {study.name} starts from {most}, not {len(from_runs)}")
    given = material_of(from_runs) if from_runs else None
    with locked(run):
        material = given or study.make(recipe, run, say)
        variants = study.variants(recipe, material)
        seeds = recipe.ablation.seeds
        say(f"{len(variants)} x {seeds} reward models: {', '.join(v.name for v in variants)}")
        run_steps(training_steps(recipe, variants, material), recipe, run, say)
        names = folders(variants, seeds)
        results = {
            "study": study.name,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "seeds": seeds,
            **study.summarize(recipe, run, names),
        }
        write_json(run / "results.json", results)
        return _write_report(study, run, names, results)


def _write_report(study: Study, run: Path, names: Names, results: Json) -> Path:
    folder = read_run(run)
    own = {name for trained in names.values() for name in trained}
    stages = [s for s in folder.stages if f"{s.number:02d}-{s.kind}-{s.name}" in own]
    folder = replace(folder, stages=tuple(stages))
    seconds = {
        variant: sum(s.seconds or 0.0 for s in stages if s.name.rpartition("-seed")[0] == variant)
        for variant in names
    }
    whole = sum(seconds.values()) or 1.0
    section = Section("study", study.title, study.lead, study.blocks(results))
    page = render_page(
        folder,
        about=f"study of reward models: {study.name}",
        facts=[*run_facts(folder), ("seeds", str(results["seeds"]))],
        milestones=[
            Milestone(variant, duration(spent), spent / whole, True, "study")
            for variant, spent in seconds.items()
        ],
        tiles=[],
        sections=[part for part in (section, costs_section(folder)) if part is not None],
    )
    return write_page(run / "report.html", page)


def percent_cell(figure: Mapping[str, Any], *, is_best: bool = False) -> Cell:
    """The mean over seeds with its range."""
    small = (
        ""
        if len(figure["seeds"]) == 1
        else (f"{percent(figure['low'])} to {percent(figure['high'])}")
    )
    return Cell(percent(figure["mean"]), small, None, is_best)


def points_cell(difference: Mapping[str, Any]) -> Cell:
    """A paired difference of shares in percentage points, with its 95% interval by Student's t."""
    small = ""
    if difference["low"] is not None:
        small = f"{_points(difference['low'])} to {_points(difference['high'])}"
    return Cell(_points(difference["value"]), small)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def seeds_look(seeds: int) -> str:
    """What the small print of a cell is."""
    if seeds == 1:
        return "One seed: no range."
    return f"Means of {seeds} seeds with the least and the most; differences are paired by seed."
