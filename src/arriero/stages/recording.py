"""Where a stage's figures go, and what it says of updates that were not taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from arriero.stages.workspace import Workspace
from arriero.training.figures import Tally
from arriero.training.meters import Meter
from arriero.training.parallel import Precision
from arriero.training.sinks import rewind

_SKIPPED = "skipped.jsonl"


def open_meter(
    workspace: Workspace,
    start: int,
    num_steps: int,
    unit: str,
    precision: Precision,
    tally: Tally | None = None,
) -> Meter:
    """The meter of a stage at step `start`; what is written of steps to be done again is dropped.

    Args:
        unit: what a step's items are called.
        precision: of the matrix products, which the utilisation is measured against.
        tally: counts operations; without it no utilisation is shown.
    """
    is_first = workspace.ranks.is_first
    if is_first:
        rewind(workspace.folder / _SKIPPED, start)
    return Meter(
        workspace.metrics if is_first else None,
        start,
        num_steps,
        workspace.say,
        unit,
        machine=workspace.machine(precision),
        tally=tally,
        sinks=workspace.sinks(start),
    )


def note_skipped(workspace: Workspace, said: str, facts: Mapping[str, Any]) -> None:
    """Say that an update was left out, and write what it had learned from into skipped.jsonl.

    Only the first rank does either.

    Args:
        facts: as JSON takes them; `step` says when.
    """
    if workspace.ranks.is_first:
        with (workspace.folder / _SKIPPED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")
        workspace.say(f"{said}; what it learned from is in {_SKIPPED}")
