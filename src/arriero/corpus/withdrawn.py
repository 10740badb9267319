"""The list of documents that were withdrawn: ids by unit, and nothing of what they said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from arriero.corpus.storage import read_json, write_json

FILE = "withdrawn.json"


def withdrawn_ids(root: Path) -> dict[str, frozenset[str]]:
    """The ids by the unit that they were read in."""
    known: dict[str, list[str]] = read_json(root / FILE) or {}
    return {unit: frozenset(ids) for unit, ids in known.items()}


def add_withdrawn(root: Path, found: Mapping[str, Iterable[str]]) -> None:
    """Put further ids on the list."""
    known = withdrawn_ids(root)
    together = {
        unit: sorted({*known.get(unit, ()), *found.get(unit, ())})
        for unit in sorted({*known, *found})
    }
    write_json(root / FILE, together)
