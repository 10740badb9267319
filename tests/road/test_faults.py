"""What happens to machines: kills, a rank that hangs, damaged files, a full disk.

Each time the same command, given again, ends with the bits of a run that nothing happened to.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from benchmarks.kills import INTERVAL, STAGE, finish, kill_often, start, write_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Whether this process may mount file systems; not every place where tests run lets it.
MAY_MOUNT = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
NUM_STEPS = 100


class Run:
    """A run, and the command that begins it and goes on with it."""

    def __init__(self, place: Path, folder: Path, ranks: int = 1) -> None:
        # Ranks give one up that hangs after some seconds.
        self._recipe = write_recipe(place, NUM_STEPS, **{"parallel.timeout_s": 3.0})
        self._log = place / "log.txt"
        self._folder, self._ranks = folder, ranks
        self.stage = folder / STAGE
        self.checkpoints = self.stage / "checkpoints"

    def begin(self, most_bytes: int = 0) -> list[BaseProcess]:
        """One life, with a log of its own."""
        self._log.write_text("")
        command = ["run", str(self._recipe), "--run", str(self._folder), "--until", "pretrain"]
        return start(command, self._log, self._ranks, most_bytes)

    def begin_and_train(self, most_bytes: int = 0) -> list[BaseProcess]:
        """One life, once it has written another checkpoint."""
        before = self.steps()
        lives = self.begin(most_bytes)
        deadline = time.monotonic() + 60
        while self.steps() <= before:
            assert all(life.exitcode is None for life in lives), self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return lives

    def end(self, lives: Sequence[BaseProcess]) -> tuple[list[int | None], str]:
        """Exit codes and all that was said."""
        return finish(lives), self._log.read_text()

    def steps(self) -> list[int]:
        """Of the checkpoints that are there."""
        return sorted(int(path.name[5:]) for path in self.checkpoints.glob("step-*"))

    def weights(self) -> bytes:
        """The result."""
        return (self.stage / "model" / "model.safetensors").read_bytes()

    def finishes_as(self, calm: Run) -> str:
        """One life more, which ends the run; what it said."""
        codes, said = self.end(self.begin())
        assert codes == [0] * self._ranks, said
        assert self.weights() == calm.weights()
        return said

    def is_begun_by(self, other: Run) -> None:
        """Take over the stages before the one that is looked at."""
        shutil.copytree(other._folder, self._folder, ignore=shutil.ignore_patterns(STAGE))


@pytest.fixture(scope="module")
def calm_ones(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    """Runs that nothing happens to, by number of ranks."""
    runs: dict[int, Run] = {}
    for ranks in (1, 2):
        place = tmp_path_factory.mktemp("calm")
        runs[ranks] = Run(place, place / "run", ranks)
        if ranks > 1:
            runs[ranks].is_begun_by(runs[1])
        codes, said = runs[ranks].end(runs[ranks].begin())
        assert codes == [0] * ranks, said
    return runs


def test_ten_kills(tmp_path: Path) -> None:
    outcome = kill_often(tmp_path, 10)
    assert outcome.differing == []
    assert outcome.kills == 10
    # Where a kill falls is chance; that not one of ten falls on a checkpoint hardly is.
    assert outcome.writing + outcome.removing >= 1
    assert 0 <= min(outcome.repeated) <= max(outcome.repeated) <= INTERVAL


def test_kills_of_one_of_two_ranks(tmp_path: Path) -> None:
    outcome = kill_often(tmp_path, 2, ranks=2)
    assert outcome.differing == []
    assert outcome.kills == 2
    assert 0 <= min(outcome.repeated) <= max(outcome.repeated) <= INTERVAL


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, which is soon full."""
    folder.mkdir()
    size = ["-o", "size=128m"]
    subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def send(life: BaseProcess, number: int) -> None:
    """A signal."""
    assert life.pid is not None
    os.kill(life.pid, number)


def fill(path: Path) -> None:
    """Write until nothing more goes in."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


# Where it may not, the test after it, which needs no rights, has to do.
if MAY_MOUNT:

    def test_a_full_disk(calm_ones: dict[int, Run], tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk"):
            run = Run(tmp_path, tmp_path / "disk" / "run")
            run.is_begun_by(calm_ones[1])
            lives = run.begin_and_train()
            send(lives[0], signal.SIGSTOP)
            fill(tmp_path / "disk" / "filler")
            send(lives[0], signal.SIGCONT)
            codes, said = run.end(lives)
            assert codes == [2]
            assert_one_line(said, "No space left on device|the disk is full")
            (tmp_path / "disk" / "filler").unlink()
            assert f"going on from step {run.steps()[-1]}" in run.finishes_as(calm_ones[1])


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_file_that_cannot_be_written(
    calm_ones: dict[int, Run], tmp_path: Path, ranks: int
) -> None:
    run = Run(tmp_path, tmp_path / "run", ranks)
    run.is_begun_by(calm_ones[ranks])
    lives = run.begin_and_train()
    for life in lives:
        life.kill()
    run.end(lives)
    before = run.steps()
    # On two ranks the second one alone has no room.
    codes, said = run.end(run.begin(most_bytes=60_000))
    assert codes == [2] * ranks
    line = assert_one_line(said, "File too large")
    assert f"step-{before[-1] + INTERVAL:08d} was not written" in line
    assert ("rank 1: " in line) == (ranks > 1)
    assert run.steps() == before
    assert not list(run.checkpoints.glob(".*"))
    assert f"going on from step {before[-1]}" in run.finishes_as(calm_ones[ranks])


def assert_one_line(said: str, words: str) -> str:
    """What a user is told at the end, which is one line and no traceback."""
    told = [line for line in said.splitlines() if line.startswith("arriero: ")]
    assert len(told) == 1, said
    assert re.search(words, told[0])
    assert "Traceback" not in said
    return told[0]


def test_ranks_that_hang_stop_and_find_damage(calm_ones: dict[int, Run], tmp_path: Path) -> None:
    run = Run(tmp_path, tmp_path / "run", ranks=2)
    run.is_begun_by(calm_ones[2])

    lives = run.begin_and_train()
    send(lives[1], signal.SIGSTOP)
    lives[0].join(20)  # it gives up after 3 s without an answer, and 2 s of asking who is there
    assert lives[0].exitcode == 2
    lives[1].kill()  # as torchrun does then
    _, said = run.end(lives)
    assert_one_line(said, f"\\[{STAGE}\\] rank 0 waits for rank 1, gone or hanging")

    newest = run.steps()[-1]
    lives = run.begin_and_train()
    for life in lives:
        life.terminate()
    began = time.monotonic()
    codes, said = run.end(lives)
    assert time.monotonic() - began < 25
    assert codes == [128 + signal.SIGTERM] * 2
    assert f"going on from step {newest}" in said
    assert said.count("stopped and saved; the same command goes on") == 2

    before, newest = run.steps()[-2:]
    damage(run.checkpoints / f"step-{newest:08d}" / "rank-00001.safetensors")
    said = run.finishes_as(calm_ones[2])
    assert f"step-{newest:08d}: damaged, going on from the checkpoint before it" in said
    assert f"going on from step {before}" in said


def damage(path: Path) -> None:
    """Turn one bit over."""
    whole = bytearray(path.read_bytes())
    whole[len(whole) * 2 // 3] ^= 4
    path.write_bytes(whole)
