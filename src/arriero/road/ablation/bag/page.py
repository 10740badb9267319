"""The page of the study of the bag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arriero.road.ablation.rewards.page import percent_cell, points_cell, seeds_look
from arriero.road.report.blocks import Block, Cell, Figure, Milestone, Section, Table
from arriero.road.report.costs import costs_section
from arriero.road.report.drawing import draw_intervals
from arriero.road.report.folder import read_run
from arriero.road.report.page import render_page, run_facts, write_page
from arriero.road.report.wording import count, duration

Json = Mapping[str, Any]

_LABELS = {
    "before": "the version before",
    "newest": "newest samples",
    "longer": "newest, as many steps",
    "all": "all versions",
}
_ROLES = ["grey", "amber", "vermilion", "blue"]


def write_bag_report(run: Path, results: Json) -> Path:
    """Write `report.html` into the folder of the study; returns its path."""
    folder = read_run(run)
    section = Section(
        "study",
        "The bag of all versions",
        f"RLHF {results['version'].upper()}, made from the same base model, reward models and "
        "prompts: with targets among the newest samples alone, with the same ones for as many "
        "steps as the bag takes, and with the best of all versions.",
        [_table(results), _figure(results)],
    )
    stages = [stage for stage in folder.stages if "seed" in stage.name]
    whole = sum(stage.seconds or 0.0 for stage in stages) or 1.0
    page = render_page(
        folder,
        about="study of the bag of samples",
        facts=[*run_facts(folder), ("seeds", str(results["seeds"]))],
        milestones=[
            Milestone(
                stage.label,
                duration(stage.seconds),
                (stage.seconds or 0.0) / whole,
                stage.is_finished,
                "study",
            )
            for stage in stages
        ],
        tiles=[],
        sections=[part for part in (section, costs_section(folder)) if part is not None],
    )
    return write_page(run / "report.html", page)


def _table(results: Json) -> Block:
    rows: list[list[str | Cell]] = []
    for category, found in results["categories"].items():
        rows.append(
            [
                category,
                count(found["asked"]) if found["asked"] else "none",
                count(found["prompts"]),
                *(percent_cell(found[arm]) for arm in _LABELS),
                points_cell(found["all"]["minus_newest"]),
                points_cell(found["all"]["minus_longer"]),
            ]
        )
    is_right = results["measure"] == "right"
    what = "the share of right answers" if is_right else "the helpfulness model's mean"
    return Table(
        title="What the version can do",
        head=[
            "category",
            "asked by it",
            "test prompts",
            *_LABELS.values(),
            "all − newest",
            "all − longer",
        ],
        rows=rows,
        look=f"By category {what}. What the version's own prompts did not ask for is what it can "
        f"forget. {seeds_look(results['seeds'])}",
        paper="section 3.2.3",
        is_wide=True,
    )


def _figure(results: Json) -> Block:
    categories = results["categories"]
    return Figure(
        title="Kept and forgotten",
        svg=draw_intervals(
            list(categories),
            {
                label: [
                    (found[arm]["mean"], found[arm]["low"], found[arm]["high"])
                    for found in categories.values()
                ]
                for arm, label in _LABELS.items()
            },
            roles=_ROLES,
            x="share, with its range over seeds",
        ),
        look="A category that none of the newest prompts asked for should fall without the bag.",
        paper="section 3.2.3",
    )
