"""The list of documents that were withdrawn: ids by input file, and nothing of what they said.

By file and not by unit: a file keeps its name when others come beside it, and units are cut anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from arriero.corpus.listing import Unit
from arriero.corpus.storage import read_json, write_json

FILE = "withdrawn.json"


def withdrawn_ids(root: Path) -> dict[str, frozenset[str]]:
    """The ids by the file that they were read in, as SOURCE/FILE."""
    known: dict[str, list[str]] = read_json(root / FILE) or {}
    return {file: frozenset(ids) for file, ids in known.items()}


def withdrawn_of(unit: Unit, known: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Those of a unit's files."""
    names = (f"{unit.source}/{file.name}" for file in unit.files)
    return frozenset(one for name in names for one in known.get(name, ()))


def add_withdrawn(root: Path, found: Mapping[str, Iterable[str]]) -> None:
    """Put further ids on the list, by SOURCE/FILE."""
    known = withdrawn_ids(root)
    together = {
        file: sorted({*known.get(file, ()), *found.get(file, ())})
        for file in sorted({*known, *found})
    }
    write_json(root / FILE, together)
