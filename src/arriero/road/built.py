"""A built corpus as what a run pretrains on: its sources, in the shares of its mix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arriero.corpus.reading import BUILD, DOCUMENTS, read_build


def with_built(entries: Sequence[str]) -> list[str]:
    """The entries of `data.corpus`; the folder of a built corpus becomes its sources.

    Raises:
        UserError: a folder's build.json is not whole.
    """
    found: list[str] = []
    for entry in entries:
        if not _is_built(entry):
            found.append(entry)
            continue
        sources = read_build(Path(entry))["sources"]
        kept = [name for name, facts in sources.items() if facts["kept"]["documents"]]
        found += [f"{name}={Path(entry) / DOCUMENTS / name}" for name in kept]
    return found


def built_weights(entries: Sequence[str]) -> dict[str, float]:
    """The shares that a corpus was built for, where it is the only entry and has weights."""
    if len(entries) != 1 or not _is_built(entries[0]):
        return {}
    facts = read_build(Path(entries[0]))
    config, sources = facts["config"], facts["sources"]
    given = config["weights"] or any(one.get("weight") for one in config["sources"].values())
    if not given:
        return {}
    return {
        name: max(round(one["mix"]["share"], 6), 1e-6)
        for name, one in sources.items()
        if one["kept"]["documents"]
    }


def _is_built(entry: str) -> bool:
    return (Path(entry) / BUILD).is_file() and (Path(entry) / DOCUMENTS).is_dir()
