"""Which files are found, under which names, and how they are put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from arriero.corpus.listing import Unit, list_units
from arriero.records import UserError
from tests.corpus.conftest import recipe_of


def test_folder_file_and_pattern(tmp_path: Path) -> None:
    for name in ("d/b/2.jsonl", "d/a.txt", "d/.hidden.txt", "d/LICENSE.txt", "d/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (units,) = list_units(recipe_of({"s": {"paths": [str(tmp_path / "d")]}}))
    assert [(file.name, file.format, file.problem) for file in units.files] == [
        ("a.txt", "text", ""),
        ("b/2.jsonl", "jsonl", ""),
        ("x.png", "", "no known format"),
    ]
    (units,) = list_units(recipe_of({"s": {"paths": [str(tmp_path / "d" / "*" / "*.jsonl")]}}))
    assert [file.name for file in units.files] == ["b/2.jsonl"]
    assert Unit.from_row(units.as_row()) == units


def test_links_that_leave_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("x")
    (tmp_path / "d" / "in.txt").symlink_to(tmp_path / "d" / "a.txt")
    (tmp_path / "d" / "out.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "d" / "loop.txt").symlink_to(tmp_path / "d" / "loop.txt")
    (unit,) = list_units(recipe_of({"s": {"paths": [str(tmp_path / "d")]}}))
    bad = "a link that leaves its folder"
    assert [(file.name, file.problem) for file in unit.files] == [
        ("a.txt", ""),
        ("in.txt", ""),
        ("loop.txt", bad),
        ("out.txt", bad),
    ]


def test_units_by_size_whatever_the_tasks(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("x" * 400)
    sources = {"s": {"paths": [str(tmp_path)]}}
    units = list_units(recipe_of(sources, unit_megabytes=0.001, executor={"tasks": 7}))
    assert [[file.name for file in unit.files] for unit in units] == [
        ["0.txt", "1.txt"],
        ["2.txt", "3.txt"],
        ["4.txt"],
    ]
    assert [unit.name for unit in units] == ["s/00000", "s/00001", "s/00002"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["none"], "source s: .*none does not exist"),
        (["*.none"], "nothing fits"),
        (["a.xyz"], "tells no format"),
        (["empty"], "no file to read"),
        (["a.txt", "d/a.txt"], "have one name"),
        (["a.txt", "a.txt"], "name a file twice"),
    ],
)
def test_what_cannot_be(tmp_path: Path, paths: list[str], message: str) -> None:
    for name in ("a.xyz", "a.txt", "d/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    sources = {"s": {"paths": [str(tmp_path / path) for path in paths]}}
    with pytest.raises(UserError, match=message):
        list_units(recipe_of(sources))
