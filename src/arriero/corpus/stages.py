"""Stages of a build: units of work with a key each, and a manifest when all of them stand.

A unit's key is the hash of all that its result follows from. One whose key and outputs still hold
is not done again; a stage goes on only where every unit of it stands, whatever an executor says.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from arriero._version import __version__
from arriero.corpus.config import CorpusRecipe
from arriero.corpus.listing import Unit
from arriero.corpus.storage import hash_file, hash_of, read_json, write_json
from arriero.records import UserError

LISTING = "00-inputs/listing.json"
Outputs = Mapping[str, str]
# What a stage's folder holds besides outputs.
_OWN = frozenset(("manifest.json", "plan.json", "units", "errors"))
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Context:
    """What every worker knows: the corpus's folder and its recipe."""

    root: Path
    recipe: CorpusRecipe

    def units(self) -> list[Unit]:
        """The units of the inputs, in the recipe's order."""
        return list(self._listing().values())

    def unit(self, name: str) -> Unit:
        """One of them."""
        return self._listing()[name]

    def _listing(self) -> dict[str, Unit]:
        path = self.root / LISTING
        return _units(path, path.stat().st_mtime_ns)


# Does a unit of the name, and returns the files that it left, relative to the corpus's folder.
Work = Callable[[Context, str], list[Path]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: its folder in the corpus.
        work: does one unit; a function of a module, so that any executor can carry it.
        keys: the hash of all that each unit follows from, by its name, in order.
    """

    name: str
    work: Work
    keys: Mapping[str, str]

    @property
    def key(self) -> str:
        """The hash of all that the stage follows from."""
        return hash_of(self.name, __version__, dict(self.keys))


# Does the units of a stage that do not stand yet; may be on other machines.
Execute = Callable[[Context, Stage], None]


def run_stage(stage: Stage, context: Context, execute: Execute, say: Say) -> dict[str, Outputs]:
    """The hashes of what each unit left, done now where they do not stand.

    Raises:
        UserError: a unit failed because of something that the user can mend.
        RuntimeError: a unit failed otherwise, or an executor lost it.
    """
    folder, root = context.root / stage.name, context.root
    begun = time.monotonic()
    manifest = folder / "manifest.json"
    standing = _standing(stage, root)
    known = read_json(manifest) or {}
    if len(standing) == len(stage.keys) and known.get("key") == stage.key:
        return standing
    manifest.unlink(missing_ok=True)
    (root / "build.json").unlink(missing_ok=True)
    if len(standing) < len(stage.keys):
        if context.recipe.executor.nodes == 1:  # of several, each forgets those of its own units
            for old in folder.glob("errors/**/*.json"):
                old.unlink(missing_ok=True)
        write_json(folder / "plan.json", {"keys": dict(stage.keys)})
        execute(context, stage)
        standing = _standing(stage, root)
    _gate(stage, folder, standing)
    _prune(folder / "units", {f"{name}.json" for name in stage.keys})
    write_json(
        manifest,
        {
            "stage": stage.name,
            "version": __version__,
            "key": stage.key,
            "outputs": {
                path: digest for unit in standing.values() for path, digest in unit.items()
            },
            "seconds": round(time.monotonic() - begun, 3),
        },
    )
    say(f"{stage.name}: {len(stage.keys)} units, {time.monotonic() - begun:.1f} s")
    return standing


def do_unit(context: Context, name: str, key: str, stage: str, work: Work) -> None:
    """Do one unit and leave its marker, or what went wrong; nothing if it stands."""
    folder = context.root / stage
    marker = folder / "units" / f"{name}.json"
    if is_standing(marker, key, context.root) is not None:
        return
    marker.unlink(missing_ok=True)
    try:
        paths = work(context, name)
    except Exception as error:
        write_json(
            folder / "errors" / f"{name}.json",
            {
                "key": key,
                "mendable": isinstance(error, UserError),
                "message": str(error) if isinstance(error, UserError) else traceback.format_exc(),
            },
        )
        return
    outputs = {str(path): hash_file(context.root / path) for path in paths}
    write_json(marker, {"key": key, "outputs": outputs})


def failure_of(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """What went wrong with a unit of a stage's folder, if it was done by this key and failed."""
    known: Any = read_json(folder / "errors" / f"{name}.json")
    return known if isinstance(known, dict) and known.get("key") == key else None


def is_standing(marker: Path, key: str, root: Path) -> Outputs | None:
    """What a unit left, if it is done by this key and every file is as it was left."""
    known: Any = read_json(marker)
    if not isinstance(known, dict) or known.get("key") != key:
        return None
    for path, digest in known["outputs"].items():
        if not (root / path).is_file() or hash_file(root / path) != digest:
            return None
    return known["outputs"]


def prune(root: Path, stages: Mapping[str, Mapping[str, Outputs]], folders: Sequence[str]) -> None:
    """Remove what no unit left: of sources that are gone, of builds by another recipe."""
    kept = {path for units in stages.values() for outputs in units.values() for path in outputs}
    for folder in folders:
        inside = {
            str(Path(path).relative_to(folder)) for path in kept if path.startswith(f"{folder}/")
        }
        _prune(root / folder, inside, beside=_OWN)


def prune_tokens(folder: Path, shards: Mapping[str, Outputs]) -> None:
    """Remove the shards of sources that have none any more, and drafts of a killed build.

    What else lies in a shard's folder stays: `arriero contamination` keeps its arrays there.
    """
    kept = {Path(path).parent.name for outputs in shards.values() for path in outputs}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)
    for path in sorted(folder.glob("*/.*.tmp")):
        path.unlink()
    if not shards:
        shutil.rmtree(folder, ignore_errors=True)


def _prune(folder: Path, kept: set[str], beside: frozenset[str] = frozenset()) -> None:
    for path in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
        if path.relative_to(folder).parts[0] in beside:
            continue
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif str(path.relative_to(folder)) not in kept:
            path.unlink()


def _standing(stage: Stage, root: Path) -> dict[str, Outputs]:
    found: dict[str, Outputs] = {}
    for name, key in stage.keys.items():
        outputs = is_standing(root / stage.name / "units" / f"{name}.json", key, root)
        if outputs is not None:
            found[name] = outputs
    return found


def _gate(stage: Stage, folder: Path, standing: Mapping[str, Outputs]) -> None:
    for name, key in stage.keys.items():
        if name in standing:
            continue
        error = failure_of(folder, name, key)
        if error is None:
            raise RuntimeError(
                f"{stage.name}: unit {name} was lost; see {folder}/.log, and give the command again"
            )
        if error["mendable"]:
            raise UserError(error["message"])
        raise RuntimeError(f"{stage.name}: unit {name} failed\n{error['message']}")


@lru_cache(maxsize=2)
def _units(path: Path, changed: int) -> dict[str, Unit]:
    del changed
    return {row["name"]: Unit.from_row(row) for row in read_json(path)["units"]}
