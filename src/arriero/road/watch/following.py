"""Follows a run's folder: what its stages have come to, read without disturbing who writes it.

Everything may be missing, half-written or gone the next moment; then it is left out.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arriero.road.manifest import current_stages, read_manifest
from arriero.road.report.folder import number

State = Literal["done", "under way", "out of date", "to come"]

SERIES = ("loss", "reward", "kl", "grad_norm")
_STEPS_OF_THE_RATE = 50


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage as it is now; `seconds` are those of its manifest, None while there is none."""

    name: str
    state: State
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it is now.

    Attributes:
        name: of its folder.
        stages: in order; those to come are known only where the folder has the usual ones.
        last: the newest line of the stage under way; empty without one.
        series: of that stage, its figures step by step, those of `SERIES` that it has.
        skipped: steps of that stage whose update was left out.
        seconds_left: of that stage, by its newest steps.
        silent_seconds: since anything was written into that stage's folder.
        energy_wh, co2_g: of the whole run so far; None where no stage says.
        is_finished: no stage is under way and the report is written.
    """

    name: str
    stages: tuple[StageView, ...] = ()
    last: Mapping[str, Any] | None = None
    series: Mapping[str, Sequence[float]] | None = None
    skipped: int = 0
    seconds_left: float | None = None
    silent_seconds: float | None = None
    energy_wh: float | None = None
    co2_g: float | None = None
    is_finished: bool = False


class RunFollower:
    """Looks at a run again and again; of growing files it reads only what is new.

    Args:
        run: the run's folder.
        usual: names of the stages that a whole run has, in order.
    """

    def __init__(self, run: Path, usual: Sequence[str]) -> None:
        self._run, self._usual = run, tuple(usual)
        self._metrics: MetricsFollower | None = None

    def look(self) -> RunView:
        """The run as it is at this moment."""
        try:
            found = sorted(path for path in self._run.iterdir() if _is_stage(path))
            current = current_stages(self._run)
        except OSError:  # a folder went while it was read; the next look sees what came of it
            return RunView(self._run.resolve().name)
        stages = [_view(path, path.name in current) for path in found]
        begun = {stage.name for stage in stages}
        if begun and begun <= set(self._usual):
            stages += [StageView(name, "to come") for name in self._usual if name not in begun]
            stages.sort(key=lambda stage: self._usual.index(stage.name))
        under_way = [stage.name for stage in stages if stage.state == "under way"]
        energy = [manifest.energy_wh for manifest in current.values()]
        carbon = [manifest.co2_g for manifest in current.values()]
        if not under_way:
            self._metrics = None
            return RunView(
                self._run.resolve().name,
                tuple(stages),
                energy_wh=sum(energy) if energy else None,
                co2_g=sum(carbon) if carbon else None,
                is_finished=self._has_report(current),
            )
        folder = self._run / under_way[-1]
        metrics = self._follow(folder / "metrics.jsonl")
        energy += _given(metrics.last.get("energy_wh"))
        carbon += _given(metrics.last.get("co2_g"))
        return RunView(
            self._run.resolve().name,
            tuple(stages),
            last=metrics.last,
            series={name: values for name, values in metrics.series.items() if values},
            skipped=metrics.skipped,
            seconds_left=metrics.seconds_left(),
            silent_seconds=_silence(folder),
            energy_wh=sum(energy) if energy else None,
            co2_g=sum(carbon) if carbon else None,
        )

    def _follow(self, path: Path) -> MetricsFollower:
        if self._metrics is None or self._metrics.path != path:
            self._metrics = MetricsFollower(path)
        self._metrics.read()
        return self._metrics

    def _has_report(self, current: Mapping[str, object]) -> bool:
        """Whether the report is newer than all that it reports."""
        try:
            reported = (self._run / "report.html").stat().st_mtime
            made = [(self._run / name / "manifest.json").stat().st_mtime for name in current]
        except OSError:
            return False
        return bool(made) and reported >= max(made)


class MetricsFollower:
    """metrics.jsonl as it grows; from the beginning again when a resumed stage has cut it.

    Attributes:
        last: the newest whole line.
        series: the figures of `SERIES`, step by step.
        skipped: lines of steps that were skipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reset()

    def _reset(self) -> None:
        self.last: Mapping[str, Any] = {}
        self.series: dict[str, list[float]] = {name: [] for name in SERIES}
        self.skipped = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_STEPS_OF_THE_RATE)
        self._offset, self._inode = 0, 0

    def read(self) -> None:
        """Take in the lines that are new and whole."""
        try:
            with self.path.open("rb") as file:
                # Cutting the file replaces it by another one.
                status = os.fstat(file.fileno())
                if self._inode not in (0, status.st_ino) or status.st_size < self._offset:
                    self._reset()
                self._inode = status.st_ino
                file.seek(self._offset)
                content = file.read()
        except OSError:
            self._reset()
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for row in whole.splitlines():
            self._take(row)

    def seconds_left(self) -> float | None:
        """By the pace of the newest steps; None where it can't be known."""
        num_steps = number(self.last.get("num_steps"))
        if num_steps is None or len(self._recent) < 2:
            return None
        (first, began), (step, now) = self._recent[0], self._recent[-1]
        if step <= first or now < began:
            return None
        return max(0.0, (now - began) / (step - first) * (num_steps - step - 1))

    def _take(self, row: bytes) -> None:
        try:
            line = json.loads(row)
        except (ValueError, RecursionError):
            return
        if not isinstance(line, dict):
            return
        self.last = line
        skipped = line.get("skipped")
        self.skipped += int(number(skipped) or 0) if not isinstance(skipped, str) else 1
        for name, values in self.series.items():
            values += _given(line.get(name))
        step, elapsed = number(line.get("step")), number(line.get("elapsed_s"))
        if step is not None and elapsed is not None:
            self._recent.append((step, elapsed))


def _is_stage(path: Path) -> bool:
    names = ("started.json", "manifest.json", "metrics.jsonl")
    return any((path / name).is_file() for name in names)


def _view(folder: Path, is_current: bool) -> StageView:
    manifest = read_manifest(folder)
    if manifest is None:
        return StageView(folder.name, "under way")
    return StageView(folder.name, "done" if is_current else "out of date", manifest.seconds)


def _silence(folder: Path) -> float | None:
    """Seconds since the newest change among a folder's files and those of its folders."""
    times: list[float] = []
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # a temporary file that has gone
            continue
    return max(0.0, time.time() - max(times)) if times else None


def _given(value: object) -> list[float]:
    found = number(value)
    return [] if found is None else [found]
