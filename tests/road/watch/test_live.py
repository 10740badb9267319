"""The verb itself, on no run, on a finished one, and beside a process that trains."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from arriero.cli import main
from arriero.records import UserError
from arriero.road.recipe import Recipe, to_toml
from arriero.road.watch import watch
from tests.road.synthetic_run import build_run


def picture(run: Path) -> str:
    """What a console that is no terminal gets."""
    console = Console(file=io.StringIO(), width=100)
    watch(run, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        watch(tmp_path / "none", Console(file=io.StringIO()))


def test_an_empty_run(tmp_path: Path) -> None:
    assert "nothing has begun yet" in picture(tmp_path)


def test_a_finished_run_and_one_of_its_stages(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    (run / "02-pretrain" / "started.json").write_text("{}")
    for name in (run, run / "02-pretrain"):
        shown = picture(name)
        assert shown.startswith("tiny: ")
        assert "09-evaluate" in shown


def test_the_verb_prints_once_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(tmp_path)]) == 0
    assert "nothing has begun yet" in capsys.readouterr().out
    assert main(["watch", str(tmp_path / "none")]) == 2
    assert "no such run" in capsys.readouterr().err


@pytest.mark.slow
def test_beside_a_run_that_trains_until_it_is_finished(
    small_recipe: Recipe, tmp_path: Path
) -> None:
    """In a terminal of its own: from before the first stage to the report, then it ends itself."""
    recipe, run = tmp_path / "small.toml", tmp_path / "run"
    # Many times as long as the pause between two looks, so that one falls into pretraining.
    tokens = 10 * small_recipe.pretrain.num_tokens
    pretrain = small_recipe.pretrain.model_copy(update={"num_tokens": tokens})
    recipe.write_text(to_toml(small_recipe.model_copy(update={"pretrain": pretrain})))
    run.mkdir()
    arriero = [sys.executable, "-m", "arriero.cli"]
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}
    watching = subprocess.Popen(
        [*arriero, "watch", str(run)], stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    shown = read_until(master, "nothing has begun yet")
    training = subprocess.Popen(
        [*arriero, "run", str(recipe), "--run", str(run), "--until", "pretrain"],
        stdout=subprocess.DEVNULL,
    )
    shown += read_until(master, "the report is written")
    assert training.wait(timeout=60) == 0
    assert watching.wait(timeout=60) == 0
    os.close(master)
    assert "02-pretrain" in shown
    assert "grad norm" in shown
    assert "tokens/s" in shown
    assert "3 of 10 stages done" in shown


def read_until(terminal: int, words: str) -> str:
    shown, deadline = "", time.monotonic() + 120
    while words not in shown:
        assert time.monotonic() < deadline, f"{words!r} was not shown:\n{shown[-2000:]}"
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown
