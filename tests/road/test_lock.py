"""One process at a time in a run's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arriero.records import UserError
from arriero.road.lock import locked

_HOLDER = """
import sys, time
from pathlib import Path
from arriero.road.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(run)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process works in this run"), locked(run):
            raise AssertionError("two at once")
        holder.kill()
        holder.wait()
    with locked(run):
        assert run.is_dir()
