"""Stages 3 and 4: documents whose text is the same, and those that share a MinHash key.

Documents are numbered over all units in their order. Of a group of equal texts the first one in
the order of precedence (`precedence`) stands for all, and only it is looked at further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arriero.corpus.config import DuplicatesConfig
from arriero.corpus.signatures import Signatures, read_signatures
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import hash_of, read_array, write_array

EXACT, BANDS = "03-exact", "04-bands"
_FIRST = Path(EXACT, "first.npy")
# Where each unit's documents begin in the count of all, and the end of the last.
_LIMITS = Path(EXACT, "limits.npy")

Numbers = NDArray[np.int64]


def exact_stage(done: Mapping[str, Outputs], config: DuplicatesConfig, sources: list[str]) -> Stage:
    """One unit, for all documents."""
    facts = [config.exact, sources, [dict(outputs) for outputs in done.values()]]
    return Stage(EXACT, find_exact, {"all": hash_of(EXACT, facts)})


def bands_stage(done: Mapping[str, Outputs], config: DuplicatesConfig) -> Stage:
    """A unit a band."""
    first = [dict(outputs) for outputs in done.values()]
    names = [f"band-{band:03d}" for band in range(config.bands)]
    return Stage(BANDS, find_band, {name: hash_of(BANDS, name, first) for name in names})


def find_exact(context: Context, name: str) -> list[Path]:
    """Write, for each document, the number of the one that stands for it: mostly its own.

    Beside it where each unit begins, so that nobody has to open every unit to know.
    """
    del name
    parts = read_signatures(context)
    first = np.arange(sum(map(len, parts)), dtype=np.int64)
    if context.recipe.duplicates.exact and len(first):
        exact = np.concatenate([part["exact"] for part in parts])
        rank = precedence(context, parts)
        order = np.lexsort((rank, exact[:, 1], exact[:, 0]))
        is_new = np.ones(len(order), bool)
        is_new[1:] = (exact[order[1:]] != exact[order[:-1]]).any(axis=1)
        leaders = order[np.flatnonzero(is_new)]
        first[order] = leaders[np.cumsum(is_new) - 1]
    write_array(context.root / _FIRST, first)
    write_array(context.root / _LIMITS, np.cumsum([0, *map(len, parts)], dtype=np.int64))
    return [_FIRST, _LIMITS]


def find_band(context: Context, name: str) -> list[Path]:
    """Write the documents that share a key of one band: (2, n), key groups and numbers."""
    band = int(name.removeprefix("band-"))
    keys = np.concatenate([part["bands"][:, band] for part in read_signatures(context)])
    first = read_first(context)
    alone = np.flatnonzero((first == np.arange(len(first))) & (keys != 0))
    keys = keys[alone]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.ones(len(ordered), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    group = np.cumsum(starts) - 1
    shared = np.bincount(group)[group] > 1 if len(group) else np.zeros(0, bool)
    pairs = np.stack([group[shared].astype(np.int64), alone[order[shared]].astype(np.int64)])
    path = Path(BANDS, f"{name}.npy")
    write_array(context.root / path, pairs)
    return [path]


def precedence(context: Context, parts: Sequence[Signatures]) -> Numbers:
    """Each document's place in the order of precedence: by source in the recipe, then by id."""
    sources = {source: place for place, source in enumerate(context.recipe.sources)}
    place = np.concatenate(
        [
            np.full(len(part), sources[unit.source], np.int64)
            for unit, part in zip(context.units(), parts, strict=True)
        ]
    )
    ids = np.concatenate([part["id"] for part in parts])
    order = np.lexsort((ids[:, 1], ids[:, 0], place))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def read_first(context: Context) -> Numbers:
    """What `find_exact` wrote."""
    return read_array(context.root / _FIRST)


def read_limits(context: Context) -> Numbers:
    """Where each unit's documents begin in the count of all, and the end of the last."""
    return read_array(context.root / _LIMITS)


def read_bands(context: Context) -> list[Numbers]:
    """What `find_band` wrote, band by band; nothing where near-duplicates are not looked for."""
    if not context.recipe.duplicates.near:
        return []
    names = [f"band-{band:03d}" for band in range(context.recipe.duplicates.bands)]
    return [read_array(context.root / BANDS / f"{name}.npy") for name in names]
