"""Shows a run until it is finished or the one who watches has seen enough."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from arriero.records import UserError
from arriero.road.stations import names_in
from arriero.road.watch.drawing import draw
from arriero.road.watch.following import RunFollower

_SECONDS_BETWEEN_LOOKS = 1.0


def watch(run: Path, console: Console, *, once: bool = False) -> None:
    """Show a run as it goes on, until its report is written or Ctrl-C; the run is left alone.

    Args:
        run: its folder, or that of one of its stages.
        console: where to draw; what is no terminal gets one picture.
        once: one picture in a terminal too.

    Raises:
        UserError: there is no such folder.
    """
    if not run.is_dir():
        raise UserError(f"{run}: no such run; `arriero run RECIPE` makes one under runs/")
    if (run / "started.json").is_file():
        run = run.resolve().parent
    follower = RunFollower(run, tuple(names_in(run).in_order()))
    ascii_only = console.options.ascii_only
    if once or not console.is_terminal:
        console.print(draw(follower.look(), ascii_only=ascii_only))
        return
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            view = follower.look()
            live.update(draw(view, ascii_only=ascii_only), refresh=True)
            if view.is_finished:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)
