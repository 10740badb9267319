"""Where a run's figures go: metrics.jsonl always, a line of progress for whoever watches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arriero.training.loop import StepReport

_SECONDS_BETWEEN_LINES = 10.0


class Meter:
    """Writes one JSON line a step and says now and then how far the stage is.

    Args:
        path: metrics.jsonl; lines of steps that will be done again are dropped.
        start: the step that comes next.
        num_steps: steps of the whole stage.
        say: prints one line of progress.
        unit: what a step counts, such as `tokens` or `pairs`.
    """

    def __init__(
        self, path: Path, start: int, num_steps: int, say: Callable[[str], None], unit: str
    ) -> None:
        self._path, self._num_steps, self._say, self._unit = path, num_steps, say, unit
        self._start = start
        self._began = time.perf_counter()
        self._last_line = self._began
        self._items = 0
        rewind(path, start)

    def record(self, report: StepReport, **more: Any) -> None:
        """One optimizer step; `more` are figures that the stage adds."""
        self._items += report.num_items
        elapsed = time.perf_counter() - self._began
        line = {
            "step": report.step,
            "num_steps": self._num_steps,
            "loss": report.loss,
            "lr": report.lr,
            "grad_norm": report.grad_norm,
            self._unit: report.num_items,
            f"{self._unit}_per_s": report.num_items / max(report.seconds, 1e-9),
            "elapsed_s": elapsed,
            **more,
        }
        if report.skipped:
            line["skipped"] = True
        self.write(line)
        self.progress(
            report.step,
            f"loss {report.loss:.3f}  grad {report.grad_norm:.2f}  "
            f"{self._items / max(elapsed, 1e-9):,.0f} {self._unit}/s",
        )

    def write(self, line: dict[str, Any]) -> None:
        """Append a line as it is."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def progress(self, step: int, figures: str) -> None:
        """Say the step, the figures and the time left, if it is time for a line."""
        now = time.perf_counter()
        done = step + 1 - self._start
        is_last = step + 1 == self._num_steps
        if now - self._last_line < _SECONDS_BETWEEN_LINES and not is_last and done > 1:
            return
        self._last_line = now
        left = (now - self._began) / done * (self._num_steps - step - 1)
        self._say(f"step {step + 1}/{self._num_steps}  {figures}  {left:.0f} s left")


class TimeLeft:
    """How long a stage without steps of training will take yet.

    Args:
        total: things to do in all.
        done: those that were there already when the stage went on.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._start = total, done
        self._began = time.perf_counter()

    def after(self, done: int) -> str:
        """For a line of progress, once `done` (more than at the start) of `total` are done."""
        a_piece = (time.perf_counter() - self._began) / max(1, done - self._start)
        return f"{a_piece * (self._total - done):.0f} s left"


def rewind(path: Path, start: int) -> None:
    """Drop the lines of steps from `start` on: a resumed run writes them again."""
    if not path.exists():
        return
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < start:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue  # the line that a kill cut in two
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.replace(path)
