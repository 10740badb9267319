"""Reads a run's folder for the report, forgivingly: half a run is a run too.

Whatever is missing, half-written or of an unexpected type is left out, never an error: a report
is most wanted when a run went wrong. Only a folder that holds no stage at all is refused.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from arriero.records import UserError
from arriero.road.manifest import current_stages, read_manifest

Json = Mapping[str, Any]

_STAGE_NAME = re.compile(
    r"(?P<number>\d+)-(?P<kind>[a-z]+)(?:-(?P<name>(?!v\d+$)[a-z0-9_-]+?))?(?:-v(?P<version>\d+))?"
)


@dataclass(frozen=True, slots=True)
class StageFolder:
    """What one stage left: empty mappings and tuples stand for files that are not there."""

    number: int
    kind: str
    name: str
    version: int | None
    manifest: Json
    results: Json
    metrics: tuple[Json, ...]

    @property
    def is_finished(self) -> bool:
        """The manifest is written last; without it the stage was stopped or still runs."""
        return bool(self.manifest)

    @property
    def label(self) -> str:
        """Such as `reward safety v1`."""
        version = f"v{self.version}" if self.version is not None else ""
        return " ".join(part for part in (self.kind, self.name, version) if part)

    @property
    def short_label(self) -> str:
        """The label without the kind, such as `safety v1`; the kind if nothing is left."""
        return self.label.removeprefix(self.kind).strip() or self.kind

    @property
    def seconds(self) -> float | None:
        """Wall time from the manifest; while the stage runs, the last one it logged."""
        finished = number(self.manifest.get("seconds"))
        if finished is not None or not self.metrics:
            return finished
        return number(self.metrics[-1].get("elapsed_s"))

    def series(self, x: str, y: str) -> tuple[list[float], list[float]]:
        """Pairs (x, y) of the metrics lines that carry both, in order of x.

        A stage that was killed and resumed repeats the steps since its checkpoint: the later
        line counts.
        """
        points = {
            at: value
            for line in self.metrics
            if (at := number(line.get(x))) is not None
            and (value := number(line.get(y))) is not None
        }
        ordered = sorted(points.items())
        return [at for at, _ in ordered], [value for _, value in ordered]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run: its recipe and the stages that exist so far, in order."""

    name: str
    recipe: Json
    recipe_text: str
    stages: tuple[StageFolder, ...]

    def of(self, kind: str) -> tuple[StageFolder, ...]:
        """All stages of one kind, such as every `reward`."""
        return tuple(stage for stage in self.stages if stage.kind == kind)

    def newest(self, kind: str) -> tuple[StageFolder, ...]:
        """The stages of one kind that belong to its last version."""
        stages = self.of(kind)
        last = max((stage.version or 0 for stage in stages), default=0)
        return tuple(stage for stage in stages if (stage.version or 0) == last)


def read_run(path: Path) -> RunFolder:
    """Read everything the report shows.

    Raises:
        UserError: `path` is no folder, or holds no stage.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a run folder: name one such as runs/tiny")
    stages = tuple(_read_stages(path))
    if not stages:
        raise UserError(f"{path} holds no stage yet: start it with `arriero run`, then report")
    recipe_text = _read_text(path / "recipe.toml")
    try:
        recipe = tomllib.loads(recipe_text)
    except tomllib.TOMLDecodeError:
        recipe = {}
    return RunFolder(path.resolve().name, recipe, recipe_text, stages)


def _read_stages(path: Path) -> Iterator[StageFolder]:
    current = current_stages(path)
    for folder in sorted(path.iterdir()):
        match = _STAGE_NAME.fullmatch(folder.name)
        if match is None or not folder.is_dir():
            continue
        if folder.name not in current and read_manifest(folder) is not None:
            continue  # made from what has been made again since: its figures are of another run
        yield StageFolder(
            number=int(match["number"]),
            kind=match["kind"],
            name=match["name"] or "",
            version=int(match["version"]) if match["version"] else None,
            manifest=_read_json(folder / "manifest.json"),
            results=_read_json(folder / "results.json"),
            metrics=tuple(_read_lines(folder / "metrics.jsonl")),
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _parse(text: str) -> Json:
    try:
        return mapping(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _read_json(path: Path) -> Json:
    return _parse(_read_text(path))


def _read_lines(path: Path) -> Iterator[Json]:
    for line in _read_text(path).splitlines():
        if parsed := _parse(line):
            yield parsed


def number(value: object) -> float | None:
    """A finite number as a float, else None (booleans are no numbers here)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def numbers(value: object) -> list[float]:
    """All finite numbers of a list; empty if it is none."""
    return [found for item in items(value) if (found := number(item)) is not None]


def mapping(value: object) -> Json:
    """The value if it is a JSON object, else an empty one."""
    return cast(Json, value) if isinstance(value, dict) else {}


def items(value: object) -> Sequence[Any]:
    """The value if it is a JSON array, else an empty one."""
    return cast(Sequence[Any], value) if isinstance(value, list) else ()


def mappings(value: object) -> list[Json]:
    """The objects of a JSON array."""
    return [cast(Json, item) for item in items(value) if isinstance(item, dict)]


def text(value: object) -> str:
    """The value as text for the page; empty for None."""
    return "" if value is None else str(value)
