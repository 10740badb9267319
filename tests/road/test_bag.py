"""`arriero bag`: counts, the samples of a prompt over versions, the best of each version."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from arriero.alignment import bag
from arriero.alignment.bag import Origin, Samples, parts_of, write_part
from arriero.cli import main
from arriero.records import Message, Prompt
from arriero.road.bag import Query, bag_counts, bag_samples

Lines = list[dict[str, Any]]


def row(
    name: str, version: str, scores: list[float], category: str = "rhyme", ended: bool = True
) -> Samples:
    num = len(scores)
    return Samples(
        Prompt(name, (Message("user", f"What is {name}?"),), category=category),
        tuple(f"{name} {version} {place}" for place in range(num)),
        (ended,) * num,
        tuple(scores),
        (2.0,) * num,
        tuple(scores),
        Origin(version, 0.5, "a" * 64, "b" * 64, "c" * 64),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "tiny"
    first, second = run / "07-rejection-v1", run / "14-rejection-v2"
    write_part(first, 0, [row("p0", "v1", [1.0, 3.0]), row("p1", "v1", [5.0, 4.0], "sums/plus")])
    write_part(first, 1, [row("p2", "v1", [math.nan, -2.0], "sums/minus", ended=False)])
    write_part(second, 0, [row("p0", "v2", [-1.0, 7.0])])
    return run


def test_counts_by_version_and_category(run: Path) -> None:
    first, second = bag_counts(run, Query())
    assert (first["version"], first["temperature"], first["policy"]) == ("v1", 0.5, "a" * 64)
    assert (first["prompts"], first["samples"], first["not_finite"]) == (3, 6, 1)
    assert first["ended"] == pytest.approx(4 / 6)
    assert first["mean"] == pytest.approx((1 + 3 + 5 + 4 - 2) / 5)
    assert first["mean_of_best"] == pytest.approx((3 + 5 - 2) / 3)
    assert first["largest"] == 5
    assert list(first["categories"]) == ["rhyme", "sums/minus", "sums/plus"]
    minus = first["categories"]["sums/minus"]
    assert (minus["samples"], minus["mean"], minus["largest"]) == (2, -2, -2)
    assert (second["version"], second["mean_of_best"]) == ("v2", 7)


def test_what_is_asked_for(run: Path) -> None:
    assert [each["version"] for each in bag_counts(run, Query(version="v2"))] == ["v2"]
    [sums] = bag_counts(run, Query(category="sums"))
    assert list(sums["categories"]) == ["sums/minus", "sums/plus"]
    assert bag_counts(run, Query(category="sum")) == []
    [one] = bag_counts(run / "14-rejection-v2", Query())
    assert one["prompts"] == 1


def test_a_prompt_over_the_versions(run: Path) -> None:
    found = [(s["version"], s["answer"], s["score"]) for s in bag_samples(run, Query(prompt="p0"))]
    assert found == [
        ("v1", "p0 v1 1", 3.0), ("v1", "p0 v1 0", 1.0),
        ("v2", "p0 v2 1", 7.0), ("v2", "p0 v2 0", -1.0),
    ]  # fmt: skip
    broken = list(bag_samples(run, Query(prompt="p2")))
    assert [sample["score"] for sample in broken] == [-2.0, None]


@pytest.mark.parametrize("best", range(1, 8))
def test_the_best_of_each_version_against_sorting(run: Path, best: int) -> None:
    found = [(s["version"], s["answer"]) for s in bag_samples(run, Query(), best)]
    expected: list[tuple[str, str]] = []
    for version in ("v1", "v2"):
        every = list(bag_samples(run, Query(version=version)))
        every.sort(key=lambda s: -math.inf if s["score"] is None else s["score"], reverse=True)
        expected += [(s["version"], s["answer"]) for s in every[:best]]
    assert found == expected


def test_a_big_bag_is_read_a_part_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    plain = bag.read_part

    def watched(part: Path) -> list[Samples]:
        alive.append(len(alive))
        return plain(part)

    monkeypatch.setattr(bag, "read_part", watched)
    samples = bag_samples(run, Query())
    next(samples)
    assert len(alive) == 1
    assert len(list(samples)) == 7
    assert len(alive) == 3


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["bag", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = said(capsys, str(run)).splitlines()
    assert table[0].split() == "version category prompts samples ended mean best largest".split()
    assert table[1].split() == "v1 all 3 6 0.667 2.200 2.000 5.000".split()
    assert table[4].split() == "v1 sums/plus 1 2 1.000 4.500 5.000 5.000".split()
    assert len(table) == 7
    best = said(capsys, str(run), "--best", "1").splitlines()
    assert best[0].split() == "v1 5.000 What is p1? -> p1 v1 0 [p1]".split()
    assert len(best) == 2
    rows = [json.loads(line) for line in said(capsys, str(run), "--json").splitlines()]
    assert [each["version"] for each in rows] == ["v1", "v2"]
    samples = said(capsys, str(run), "--prompt", "p2", "--json").splitlines()
    assert json.loads(samples[1])["score"] is None


def test_what_is_refused(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        assert main(["bag", *arguments]) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    assert "no such folder" in refused(str(tmp_path / "nothing"))
    assert "no bag of samples in it" in refused(str(run / "07-rejection-v1" / "samples"))
    assert "no such samples" in refused(str(run), "--version", "v9")
    assert "say a number above 0" in refused(str(run), "--best", "0")
    part = parts_of(run / "14-rejection-v2")[0]
    part.write_bytes(part.read_bytes().replace(b"7.0", b"9.0"))
    assert f"{part}: damaged" in refused(str(run))
