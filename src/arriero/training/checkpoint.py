"""Checkpoints that survive a kill: temporary folder, hashes, rename; safetensors and JSON.

Every rank writes and hashes what it holds, and a job of other ranks puts it together for itself. No
pickle anywhere. A checkpoint whose hash does not match is passed over for the one before it.

Once renamed it is safe from a kill, as the system holds what was written. Bringing that to the disk
needs no copy of the tensors and goes on in the background. A power cut meanwhile can damage this
checkpoint alone: the one before is on the disk, and nothing older goes until this one is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from safetensors import SafetensorError

from arriero.records import UserError
from arriero.training.parallel import reshard
from arriero.training.parts import names_in, read_parts, write_parts
from arriero.training.ranks import ALONE, Ranks
from arriero.training.state import Modules, Optimizers, give_moments, tensors_for, tensors_of

_KEPT = 2
_STATE = "state.json"
_MANIFEST = "manifest.json"

# One thread: never two checkpoints at once on their way to the disk.
_DISK = ThreadPoolExecutor(1, "checkpoint")

Hashes = dict[str, str]
Done = TypeVar("Done")


def write_checkpoint(
    folder: Path,
    step: int,
    modules: Modules,
    optimizers: Optimizers,
    state: dict[str, Any],
    *,
    ranks: Ranks = ALONE,
    keep_every: int = 0,
    after: Flush | None = None,
) -> Flush:
    """Hand `folder/step-N` to the system, whole or not at all, and keep the newest two.

    Args:
        step: steps done so far; the run goes on with this number.
        modules, optimizers: what is trained, by name.
        state: anything else that JSON holds (best score so far, counters).
        ranks: all of them call this together.
        keep_every: steps that are a multiple of it are kept for good; 0 keeps none.
        after: what came of the checkpoint before; this one waits for it.

    Returns what waits until the disk has it.

    Raises:
        UserError: a rank could not write its part (a full disk, say); nothing of it is left, and
            the checkpoints before it are as they were.
    """
    temporary = folder / f".step-{step:08d}.tmp"
    final = folder / f"step-{step:08d}"
    whole = {"step": step, "milestone": bool(keep_every and step % keep_every == 0), **state}
    own = f"rank-{ranks.number:05d}.safetensors"

    def begin() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        temporary.mkdir()

    def write_own() -> Hashes:
        write_parts(temporary / own, tensors_of(modules, optimizers), ranks)
        return {own: hash_file(temporary / own)}

    def finish(hashes: Hashes) -> None:
        (temporary / _STATE).write_text(json.dumps(whole), encoding="utf-8")
        hashes |= {_STATE: hash_file(temporary / _STATE)}
        (temporary / _MANIFEST).write_text(json.dumps(hashes), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _prune(folder, final)

    for module in modules.values():
        reshard(module)
    if after is not None:
        after.wait()
    try:
        _on_first(begin, ranks)
        hashes = {name: value for part in _on_all(write_own, ranks) for name, value in part.items()}
        _on_first(lambda: finish(hashes), ranks)
    except _NotWritten as error:
        if ranks.is_first:
            _remove_leftovers(folder)
        _refuse(final, error, ranks)
    of_first = [final / _STATE, final / _MANIFEST, final, folder] if ranks.is_first else []
    return Flush(final, [final / own, *of_first], ranks)


class Flush:
    """A checkpoint on its way to the disk, one at a time.

    Args:
        checkpoint: its folder.
        paths: what this rank has to bring there, in order.
        ranks: those that wrote it.
    """

    def __init__(self, checkpoint: Path, paths: Sequence[Path], ranks: Ranks) -> None:
        self._checkpoint, self._ranks = checkpoint, ranks
        self._done = _DISK.submit(lambda: [_sync(path) for path in paths])

    def wait(self) -> None:
        """Until it is there, on all ranks, which call this together.

        Raises:
            UserError: the disk did not take it.
        """
        try:
            _on_all(self._done.result, self._ranks)
        except _NotWritten as error:
            _refuse(self._checkpoint, error, self._ranks)


def load_checkpoint(
    folder: Path, modules: Modules, optimizers: Optimizers, *, ranks: Ranks = ALONE
) -> dict[str, Any] | None:
    """Fill modules and optimizers from the newest whole checkpoint; returns its state.

    None if there is none to go on from. The state's `step` is the number of steps done. The ranks
    may be others than those that wrote it.

    Raises:
        UserError: the checkpoint is of a model of another shape.
    """
    path = _newest_whole(folder, ranks)
    if path is None:
        return None
    files = [path / name for name in _read_hashes(path) if name.endswith(".safetensors")]
    names = names_in(files)
    wanted = tensors_for(sorted(names), modules)
    if names != set(wanted):
        name = min(names ^ set(wanted))
        raise UserError(f"{path} is of another model ({name}); remove its folder to start anew")
    try:
        read_parts(files, wanted)
    except ValueError as error:
        raise UserError(
            f"{path} is of a model of another shape ({error}); remove its folder to start anew"
        ) from None
    give_moments(modules, optimizers, wanted)
    return json.loads((path / _STATE).read_text(encoding="utf-8"))


def clear_checkpoints(folder: Path) -> None:
    """Remove what a finished stage needs no more: all but the milestones."""
    for path in folder.iterdir() if folder.is_dir() else ():
        # What a kill left half-written begins with a dot.
        if path.name.startswith(".") or not _is_milestone(path):
            shutil.rmtree(path, ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _NotWritten(Exception):  # noqa: N818 - never seen outside
    """What kept a rank from writing."""


def _on_all(work: Callable[[], Done], ranks: Ranks) -> list[Done]:
    """What a piece of work gave on every rank; where it failed on one, all of them know."""
    done, failure = None, ""
    try:
        done = work()
    except (OSError, SafetensorError) as error:
        failure = " ".join(str(error).split())
        if ranks.size > 1:
            failure = f"rank {ranks.number}: {failure}"
    of_all = ranks.from_all((done, failure))
    if failures := [failure for _, failure in of_all if failure]:
        raise _NotWritten(failures[0])
    return [done for done, _ in of_all if done is not None]


def _on_first(work: Callable[[], None], ranks: Ranks) -> None:
    """A piece of work for the first rank; all of them know when it is done, and whether."""
    _on_all(work if ranks.is_first else lambda: None, ranks)


def _refuse(checkpoint: Path, reason: _NotWritten, ranks: Ranks) -> NoReturn:
    if not ranks.is_first:
        raise SystemExit(2)  # the first one says why, and once is enough
    raise UserError(
        f"{checkpoint} was not written ({reason}); mend that, or make room, and give the same "
        "command again: it goes on from the checkpoint before"
    )


def _newest_whole(folder: Path, ranks: Ranks) -> Path | None:
    found = ranks.agreed(sorted(folder.glob("step-*"), reverse=True) if ranks.is_first else [])
    for path in found:
        # Every rank hashes some of the files.
        if all(ranks.from_all(_is_whole(path, ranks.number, ranks.size))):
            return path
        if ranks.is_first:
            print(f"{path}: damaged, going on from the checkpoint before it", flush=True)
    if found and ranks.is_first:
        print(f"{folder}: no whole checkpoint, starting anew", flush=True)
    return None


def _is_whole(path: Path, turn: int, turns: int) -> bool:
    """Whether files are as the manifest says: every `turns`-th of them, from number `turn` on."""
    try:
        hashes = _read_hashes(path)
        names = sorted(hashes)[turn::turns]
        return _STATE in hashes and all(hash_file(path / name) == hashes[name] for name in names)
    except (OSError, ValueError, TypeError):
        return False


def _read_hashes(path: Path) -> Hashes:
    return json.loads((path / _MANIFEST).read_text(encoding="utf-8"))


def _prune(folder: Path, newest: Path) -> None:
    """Remove what is older than the newest two, but for milestones, and what is damaged."""
    found = sorted(folder.glob("step-*"))
    # A run that went on from before them found the later ones damaged.
    damaged = [path for path in found if path.name > newest.name]
    older = [path for path in found if path.name <= newest.name][:-_KEPT]
    for path in damaged + [path for path in older if not _is_milestone(path)]:
        shutil.rmtree(path, ignore_errors=True)


def _is_milestone(path: Path) -> bool:
    try:
        state: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return state.get("milestone") is True


def _remove_leftovers(folder: Path) -> None:
    """What a kill, or a full disk, left half-written."""
    for path in folder.glob(".step-*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
