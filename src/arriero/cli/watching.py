"""The verb that shows a run as it goes on: watch."""

from __future__ import annotations

import argparse
from pathlib import Path

from arriero.cli.verbs import Verbs


def add_verbs(verbs: Verbs) -> None:
    """Add it."""
    watch = verbs.add("watch", "show a run as it goes on: stage, time left, loss, energy", _watch)
    watch.add_argument("run", type=Path, metavar="RUN", help="a run's folder, such as runs/tiny")
    watch.add_argument("--once", action="store_true", help="one picture, also in a terminal")


def _watch(options: argparse.Namespace) -> None:
    from rich.console import Console

    from arriero.road.watch import watch

    watch(options.run, Console(), once=options.once)
