"""Stage 2: what duplicates are found by: a hash of each text, and its MinHash keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arriero.corpus import clean
from arriero.corpus.config import DuplicatesConfig
from arriero.corpus.shingles import Hashes, band_keys, exact_hash, shingles
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import hash_of, read_array, read_rows, write_array

NAME = "02-signatures"
_BATCH = 512

# A document in four numbers of 64 bits and its keys.
Signatures = NDArray[Any]


def record(bands: int) -> np.dtype[Any]:
    """The layout of a signature: `id` and `exact` of 128 bits each, `bands` of 64."""
    return np.dtype(
        [("id", np.uint64, (2,)), ("exact", np.uint64, (2,)), ("bands", np.uint64, (bands,))]
    )


def stage(done: Mapping[str, Outputs], config: DuplicatesConfig) -> Stage:
    """The stage; a unit follows from the unit's clean documents."""
    facts = [config.near, config.ngram, config.bands, config.rows]
    keys = {name: hash_of(NAME, facts, dict(outputs)) for name, outputs in done.items()}
    return Stage(NAME, sign, keys)


def sign(context: Context, name: str) -> list[Path]:
    """Do a unit: one array, a row a document in their order."""
    config = context.recipe.duplicates
    bands = config.bands if config.near else 0
    parts = [np.zeros(0, record(bands))]
    batch: list[tuple[str, tuple[int, int], Hashes | None]] = []

    def flush() -> None:
        part = np.zeros(len(batch), record(bands))
        for place, (document, exact, _) in enumerate(batch):
            part["id"][place] = (int(document[:16], 16), int(document[16:], 16))
            part["exact"][place] = exact
        if bands and batch:
            found = [one for _, _, one in batch if one is not None]
            part["bands"] = band_keys(found, bands, config.rows)
        parts.append(part)
        batch.clear()

    for row in read_rows(context.root / clean.NAME / f"{name}.kept.jsonl.zst"):
        text = row["text"]
        found = shingles(text, config.ngram).copy() if bands else None
        batch.append((row["id"], exact_hash(text), found))
        if len(batch) == _BATCH:
            flush()
    flush()
    path = Path(NAME, f"{name}.npy")
    write_array(context.root / path, np.concatenate(parts))
    return [path]


def read_signatures(context: Context) -> list[Signatures]:
    """The arrays of all units in order, mapped."""
    return [read_array(context.root / NAME / f"{unit.name}.npy") for unit in context.units()]


def id_text(pair: NDArray[np.uint64]) -> str:
    """An id as it is written."""
    return f"{int(pair[0]):016x}{int(pair[1]):016x}"
