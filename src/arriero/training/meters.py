"""Gathers a stage's figures: lines for its sinks, a word of progress for whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arriero.training.figures import Machine, Tally, standing_figures, utilisation
from arriero.training.loop import StepReport
from arriero.training.sinks import JsonLines, Sink, last_line

_SECONDS_BETWEEN_LINES = 10.0


class Meter:
    """Writes one JSON line a step and says now and then how far the stage is.

    Time, energy and carbon count from the first step of the stage, with what was done twice
    because a run was stopped between two checkpoints.

    Args:
        path: metrics.jsonl, whose lines of steps that will be done again are dropped; None on a
            rank that writes nothing.
        start: the step that comes next.
        num_steps: steps of the whole stage.
        say: prints one line of progress.
        unit: what a step counts, such as `tokens` or `pairs`.
        machine: what utilisation, memory and energy are measured against; without it they are
            left out.
        tally: counts what the loop computes; without it the utilisation is left out.
        sinks: where the lines go beside the file; `close` closes them.
    """

    def __init__(
        self,
        path: Path | None,
        start: int,
        num_steps: int,
        say: Callable[[str], None],
        unit: str,
        *,
        machine: Machine | None = None,
        tally: Tally[Any] | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._num_steps, self._say, self._unit = num_steps, say, unit
        self._start, self._machine, self._tally = start, machine, tally
        self._spent_before = 0.0
        self._sinks: list[Sink] = []
        if path is not None:
            self._spent_before = float(last_line(path).get("elapsed_s") or 0.0)
            self._sinks = [JsonLines(path, start), *sinks]
        self._began = time.perf_counter()
        self._last_line = self._began
        self._items = 0

    def record(self, report: StepReport, **more: Any) -> None:
        """One optimizer step; `more` are figures that the stage adds."""
        self._items += report.num_items
        line = {
            "step": report.step,
            "num_steps": self._num_steps,
            "loss": report.loss,
            "lr": report.lr,
            "grad_norm": report.grad_norm,
            self._unit: report.num_items,
            f"{self._unit}_per_s": report.num_items / max(report.seconds, 1e-9),
            "data_wait_share": report.data_seconds / max(report.seconds, 1e-9),
            **self._utilisation(report.seconds),
            **more,
        }
        if report.verdict != "ok":
            line["skipped"] = report.verdict
        elapsed = time.perf_counter() - self._began
        written = self.write(line)
        self.progress(
            report.step,
            f"loss {report.loss:.3f}  grad {report.grad_norm:.2f}  "
            f"{self._items / max(elapsed, 1e-9):,.0f} {self._unit}/s{_in_words(written)}",
        )

    def write(self, line: dict[str, Any]) -> dict[str, Any]:
        """Write a line with the time since the start, memory and energy; returns it whole."""
        elapsed = self._spent_before + time.perf_counter() - self._began
        standing = standing_figures(self._machine, elapsed) if self._machine else {}
        whole = {**line, "elapsed_s": elapsed, **standing}
        for sink in self._sinks:
            sink.write(whole)
        return whole

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

    def close(self) -> None:
        """After the last line, however the stage ended."""
        for sink in self._sinks:
            sink.close()

    def _utilisation(self, seconds: float) -> dict[str, float]:
        """MFU of the step, where operations and ceiling are known."""
        if self._tally is None or self._machine is None:
            return {}
        flops = self._tally.take() * self._machine.data_ranks
        return {"mfu": utilisation(flops, seconds, self._machine.flops_per_s)}


def _in_words(line: dict[str, Any]) -> str:
    """What a line of progress says of the machine, where it is known."""
    said = ""
    if "mfu" in line:
        said += f"  MFU {line['mfu']:.0%}"
    if "memory_peak_gb" in line:
        said += f"  {line['memory_peak_gb']:.1f} GB at most"
    if "data_wait_share" in line:
        said += f"  waiting {line['data_wait_share']:.1%}"
    return said


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
