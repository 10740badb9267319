"""A folder or a file that is there whole or not at all: temporary beside it, fsync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arriero.records import UserError


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write into, which becomes `target` when the block ends well.

    Raises:
        UserError: there is a file of this name, or a folder that is not empty.
    """
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target}: is there already and not empty; name another place")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: a file is in the way of a folder; name another place")
    temporary = _beside(target)
    shutil.rmtree(temporary, ignore_errors=True)
    _make(temporary)
    try:
        yield temporary
        for path in temporary.iterdir():
            _sync(path)
        _sync(temporary)
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(target.parent)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` when the block ends well.

    Raises:
        UserError: there is something of this name.
    """
    if target.exists():
        raise UserError(f"{target}: is there already; name another place")
    _make(target.parent)
    temporary = _beside(target)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder}: a file is in the way of a folder; name another place") from None


def _beside(target: Path) -> Path:
    target = target.absolute()
    return target.with_name(f".{target.name}.tmp")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
