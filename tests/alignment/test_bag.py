"""The bag of samples: parts named by their contents, whole or not there, read one at a time."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from arriero.alignment import bag
from arriero.alignment.bag import (
    Origin,
    Samples,
    bag_identity,
    bags_in,
    check_origin,
    part_of,
    parts_of,
    read_part,
    samples_in,
    write_part,
)
from arriero.records import Message, Prompt, UserError

ORIGIN = Origin("v1", 0.7, "a" * 64, "b" * 64, "c" * 64)


def samples(name: str, *, version: str = "v1", track: str = "helpfulness") -> Samples:
    messages = (Message("system", "Be brief."), Message("user", f"¿Qué es {name}?"))
    return Samples(
        Prompt(name, messages, "safety" if track == "safety" else "helpfulness", "knowledge"),
        ("salt\nand wool", "", "no"),
        (True, False, True),
        (0.1 + 0.2, -1.5, math.nan),
        (1 / 3, 2.0, 3.0),
        (0.1 + 0.2, -1.5, math.nan),
        replace(ORIGIN, version=version),
    )


def same(one: Samples, other: Samples) -> bool:
    """NaN is no number, and so not equal to itself."""
    return repr(one) == repr(other)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Two parts, of two prompts and of one."""
    stage = tmp_path / "run" / "07-rejection-v1"
    write_part(stage, 0, [samples("p0"), samples("p1", track="safety")])
    write_part(stage, 1, [samples("p2")])
    return stage


def test_what_is_written_is_read(stage: Path) -> None:
    """To the last bit of a score, and NaN for NaN."""
    found = list(samples_in(stage))
    expected = [samples("p0"), samples("p1", track="safety"), samples("p2")]
    assert [same(*pair) for pair in zip(found, expected, strict=True)] == [True] * 3
    first = part_of(stage, 0)
    assert first is not None
    row = json.loads(first.read_text().splitlines()[0])
    assert row["prompt_id"] == "p0"
    assert row["scores"] == [0.1 + 0.2, -1.5, None]  # JSON that any reader takes
    assert (row["version"], row["temperature"]) == ("v1", 0.7)


def test_a_part_is_named_by_its_contents(stage: Path) -> None:
    for number, part in enumerate(parts_of(stage)):
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        assert part.name == f"part-{number:05d}-{digest}.jsonl"
        assert part == part_of(stage, number)
    assert part_of(stage, 2) is None
    assert [path.name for path in (stage / "samples").iterdir() if path.name[0] == "."] == []


def flip(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-7])


def add(part: Path) -> None:
    part.write_bytes(part.read_bytes() + b"\n")


@pytest.mark.parametrize("damage", [flip, cut, add])
def test_a_changed_byte_is_found_and_named(stage: Path, damage: Callable[[Path], None]) -> None:
    part = parts_of(stage)[1]
    damage(part)
    found = samples_in(stage)
    assert [next(found).prompt.id for _ in range(2)] == ["p0", "p1"]  # what is whole is read
    with pytest.raises(UserError, match=r"part-00001-\w+\.jsonl: damaged .*--from 07-rejection-v1"):
        next(found)


def test_every_single_bit_is_found(stage: Path) -> None:
    part = parts_of(stage)[1]
    content = part.read_bytes()
    for place in range(0, len(content) * 8, 61):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        part.write_bytes(changed)
        with pytest.raises(UserError, match="damaged"):
            read_part(part)


def test_a_missing_part_is_named(stage: Path) -> None:
    parts_of(stage)[0].unlink()
    with pytest.raises(UserError, match="part 0 is missing"):
        parts_of(stage)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\n", b'{"prompt_id": 1}\n', b"\xff\n"])
def test_what_is_no_part_is_refused(tmp_path: Path, content: bytes) -> None:
    """Somebody else's file under a right name."""
    folder = tmp_path / "samples"
    folder.mkdir()
    path = folder / f"part-00000-{hashlib.sha256(content).hexdigest()}.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no part of a bag of samples"):
        read_part(path)


def test_a_part_that_was_not_finished_is_no_part(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before the rename leaves a name that begins with a dot, which the next one takes."""

    class KilledError(Exception):
        pass

    def killed(_: int) -> None:
        raise KilledError

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KilledError):
        write_part(stage, 2, [samples("p3")])
    monkeypatch.undo()
    assert len(parts_of(stage)) == 2
    assert len(list((stage / "samples").iterdir())) == 3
    write_part(stage, 2, [samples("p4")])
    assert [one.prompt.id for one in samples_in(stage)] == ["p0", "p1", "p2", "p4"]
    assert len(list((stage / "samples").iterdir())) == 3


def test_one_part_at_a_time_is_in_memory(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = bag.read_part

    def watched(part: Path) -> list[Samples]:
        read.append(part.name[:10])
        return plain(part)

    monkeypatch.setattr(bag, "read_part", watched)
    found = samples_in(stage)
    next(found)
    assert read == ["part-00000"]
    assert len(list(found)) == 2
    assert read == ["part-00000", "part-00001"]


def test_the_bags_of_a_run_come_in_order(stage: Path) -> None:
    run = stage.parent
    later = run / "14-rejection-v2"
    write_part(later, 0, [samples("p0", version="v2")])
    (run / "08-ppo-v1").mkdir()
    assert bags_in(run) == [stage, later]
    assert bags_in(later) == [later]
    for folder in (run / "08-ppo-v1", run / "nothing"):
        with pytest.raises(UserError, match=r"no bag of samples|no such folder"):
            bags_in(folder)


def test_the_identity_of_a_bag_follows_from_what_is_in_it(stage: Path, tmp_path: Path) -> None:
    before = bag_identity(stage.parent)
    copy = tmp_path / "copy" / stage.name
    for number, part in enumerate(parts_of(stage)):
        write_part(copy, number, read_part(part))
    assert bag_identity(copy.parent) == before
    write_part(copy, 2, [samples("p9")])
    assert bag_identity(copy.parent) != before


def test_another_base_and_another_tokenizer_are_refused(stage: Path) -> None:
    row = samples("p0")
    check_origin(stage, row, "b" * 64, "c" * 64)
    with pytest.raises(UserError, match=r"07-rejection-v1: .* another base model \(bbbbbbbb, not"):
        check_origin(stage, row, "d" * 64, "c" * 64)
    with pytest.raises(UserError, match=r"another tokenizer \(cccccccc, not dddddddd\)"):
        check_origin(stage, row, "b" * 64, "d" * 64)
