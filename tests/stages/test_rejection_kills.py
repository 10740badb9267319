"""kill -9 between any two steps of rejection sampling: at most the part in hand is lost."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from arriero.alignment.bag import FOLDER, parts_of
from arriero.data.writing import write_dialogs, write_prompts
from arriero.records import Dialog, Message

from .lives import Stage, live
from .test_rejection import PROMPTS, SMALL
from .test_rejection_bag import MORE

pytestmark = pytest.mark.slow

# Point, number of its call in that life, and the parts that are whole afterwards. Twelve prompts
# are three parts; first two temperatures are tried, a score each; last are the old samples.
KILLS = [
    ("scoring", 2, 0),  # of the second temperature: nothing is kept yet
    ("renaming", 1, 0),  # of the temperature
    ("renamed", 1, 0),
    ("sampling", 3, 0),  # of the first part, at the temperature that was found
    ("scoring", 1, 0),
    ("writing", 1, 0),
    ("renaming", 1, 0),
    ("renamed", 1, 1),
    ("sampling", 3, 1),
    ("scoring", 2, 2),
    ("scoring", 2, 3),  # of the samples of the version before
]


@pytest.fixture
def stage(tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]) -> Stage:
    """The second version, with the bag of the first."""
    shown = [Dialog((Message("user", f"show {n}"), Message("assistant", "yes"))) for n in range(30)]
    write_dialogs(tmp_path / "instructions.jsonl", shown)
    write_prompts(tmp_path / "first.jsonl", [*MORE, *PROMPTS[:3]])
    write_prompts(tmp_path / "prompts.jsonl", PROMPTS)
    first = Stage(
        SMALL, tmp_path / "07-rejection-v1", chat_folder, reward_folders,
        tmp_path / "first.jsonl", tmp_path / "instructions.jsonl",
    )  # fmt: skip
    first.run()
    return replace(
        first,
        folder=tmp_path / "calm",
        prompts=tmp_path / "prompts.jsonl",
        bags=(first.folder,),
        version="v2",
    )


def contents(folder: Path) -> dict[str, bytes]:
    """What a stage leaves; the clock is in its metrics."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "metrics.jsonl" and "checkpoints" not in path.parts
    }


def test_killed_at_every_point_it_ends_with_the_same_bits(stage: Stage, tmp_path: Path) -> None:
    assert live(stage) == 0
    killed = replace(stage, folder=tmp_path / "killed")
    first = contents(stage.bags[0])
    for point, number, parts in KILLS:
        assert live(killed, point, number) == -signal.SIGKILL, (point, number)
        assert len(parts_of(killed.folder)) == parts, (point, number)
        assert not (killed.folder / "results.json").exists()
    # What a kill left half-written the next life has taken.
    assert not list((killed.folder / FOLDER).glob(".*"))
    assert live(killed) == 0
    calm, other = contents(stage.folder), contents(killed.folder)
    assert calm.keys() == other.keys()
    assert [name for name in calm if calm[name] != other[name]] == []
    assert len([name for name in calm if name.startswith(f"{FOLDER}/part-")]) == 3
    # And nothing of the version before was touched.
    assert contents(stage.bags[0]) == first
