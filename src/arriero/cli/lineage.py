"""The verb that says where a model comes from: lineage."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from arriero.cli.verbs import Verbs


def add_verbs(verbs: Verbs) -> None:
    """Add it."""
    lineage = verbs.add(
        "lineage", "where a model comes from: its ancestors, data and recipe", _lineage
    )
    lineage.add_argument("run", type=Path, metavar="RUN",
                         help="a run's folder, or that of one of its stages")  # fmt: skip
    lineage.add_argument("--json", action="store_true", help="all of it, with every key")


def _lineage(options: argparse.Namespace) -> None:
    from arriero.road.lineage import ancestry, described, read_lineage

    run, stage = _run_and_stage(options.run)
    stages = read_lineage(run)
    ancestors = ancestry(stages, stage) if stage else list(stages.values())
    if options.json:
        print(json.dumps([asdict(one) for one in ancestors], indent=2))
        return
    for line in described(ancestors):
        print(line)


def _run_and_stage(folder: Path) -> tuple[Path, str]:
    """`runs/a/12-rejection-v2` or its `model` is that stage; of a run's folder it is all."""
    folder = folder.resolve()
    if folder.name == "model":
        folder = folder.parent
    is_of_a_run = (folder.parent / "lineage.json").is_file()
    if is_of_a_run and not (folder / "lineage.json").is_file():
        return folder.parent, folder.name
    return folder, ""
