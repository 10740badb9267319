"""docs/paper.md says only what is so: its symbols, commands and tests exist."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from arriero.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "paper.md").read_text()
QUOTED = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    paper: str
    what: str
    symbol: str
    command: str
    test: str
    departure: str


def rows() -> list[Row]:
    """The rows of the table under "What is here"."""
    section = TEXT.split("\n## What is here\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[2:]]


def by_paper(row: Row) -> str:
    return f"{row.paper}: {row.what}"


@pytest.mark.parametrize("row", rows(), ids=by_paper)
def test_symbols_exist(row: Row) -> None:
    names = QUOTED.findall(row.symbol)
    assert names
    for name in names:
        assert name.startswith("arriero.")
        assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize("row", rows(), ids=by_paper)
def test_tests_exist(row: Row) -> None:
    names = QUOTED.findall(row.test)
    assert names
    for name in names:
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), f"no {path}"
        assert f"def {function}" in (ROOT / path).read_text()


@pytest.mark.parametrize(
    "verb", sorted({name.split()[1] for row in rows() for name in QUOTED.findall(row.command)})
)
def test_commands_exist(verb: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0


def test_every_row_states_its_departure() -> None:
    assert [row.paper for row in rows() if not row.departure] == []


def test_every_room_of_equations_is_on_the_map() -> None:
    folder = ROOT / "src" / "arriero" / "equations"
    modules = {f"arriero.equations.{path.stem}" for path in folder.glob("[!_]*.py")}
    named = {name for row in rows() for name in QUOTED.findall(row.symbol)}
    assert modules
    assert {m for m in modules if not any(n.startswith(f"{m}.") for n in named)} == set()
