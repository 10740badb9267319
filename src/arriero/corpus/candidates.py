"""Stage 5: the shingle sets of documents that share a key with another, for exact comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arriero.corpus import clean
from arriero.corpus.buckets import Numbers, read_bands, read_limits
from arriero.corpus.config import DuplicatesConfig
from arriero.corpus.shingles import Hashes, shingle_set
from arriero.corpus.stages import Context, Outputs, Stage
from arriero.corpus.storage import array_writer, hash_of, read_array, read_rows, write_array

NAME = "05-candidates"


def stage(
    cleaned: Mapping[str, Outputs], bands: Mapping[str, Outputs], config: DuplicatesConfig
) -> Stage:
    """A unit's result follows from its documents and from who is a candidate at all."""
    found = [dict(outputs) for outputs in bands.values()]
    keys = {
        name: hash_of(NAME, config.ngram, found, dict(outputs)) for name, outputs in cleaned.items()
    }
    return Stage(NAME, collect, keys)


def collect(context: Context, name: str) -> list[Path]:
    """Write a unit's candidates: their numbers, where each set begins, and the sets."""
    names = [unit.name for unit in context.units()]
    limits = read_limits(context)
    place = names.index(name)
    begin, end = int(limits[place]), int(limits[place + 1])
    bands = [band[1] for band in read_bands(context)]
    wanted = np.unique(np.concatenate(bands)) if bands else np.zeros(0, np.int64)
    wanted = wanted[(wanted >= begin) & (wanted < end)]
    chosen = set((wanted - begin).tolist())
    sizes = [0]
    numbers, starts, sets = (Path(NAME, f"{name}.{p}.npy") for p in ("numbers", "starts", "sets"))
    with array_writer(context.root / sets, np.uint64) as write:
        rows = read_rows(context.root / clean.NAME / f"{name}.kept.jsonl.zst") if chosen else ()
        for number, row in enumerate(rows):
            if number in chosen:
                found = shingle_set(row["text"], context.recipe.duplicates.ngram)
                write(found)
                sizes.append(len(found))
    write_array(context.root / numbers, wanted.astype(np.int64))
    write_array(context.root / starts, np.cumsum(sizes, dtype=np.int64))
    return [numbers, starts, sets]


class ShingleSets:
    """The sets of all candidates by their numbers, mapped."""

    def __init__(self, context: Context) -> None:
        folder = context.root / NAME
        units = context.units()
        self._numbers = [read_array(folder / f"{unit.name}.numbers.npy") for unit in units]
        self._starts = [read_array(folder / f"{unit.name}.starts.npy") for unit in units]
        self._sets = [read_array(folder / f"{unit.name}.sets.npy") for unit in units]
        self._limits: Numbers = read_limits(context)

    def of(self, number: int) -> Hashes:
        """A candidate's shingles, sorted."""
        unit = int(np.searchsorted(self._limits, number, side="right")) - 1
        place = int(np.searchsorted(self._numbers[unit], number))
        starts = self._starts[unit]
        return self._sets[unit][int(starts[place]) : int(starts[place + 1])]
