"""One process at a time in a run's folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arriero.records import UserError

_LOCK = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it whatever ends the process.

    Raises:
        UserError: another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / _LOCK).open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{run}: another process works in this run; wait for it, or name another folder "
                "with --run"
            ) from None
        except OSError:
            pass  # a file system without locks: better unguarded than not at all
        yield
