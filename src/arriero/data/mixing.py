"""Sources of a corpus, read by weight: the most factual ones up-sampled (section 2.1).

A weight is a source's share of the rows that are trained on, whatever its size: a small source with
a large weight is read several times, each time in a new order. Which source a row comes from is an
apportionment by Sainte-Lague's method (Webster's): the rows are seats and the weights votes. After
any number of rows each source has its share of them to within a few, and row n is the same row
whatever the batch, the ranks, or the step that a run goes on from. Departure: the paper says
neither which sources it had nor by how much it up-sampled them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arriero.data.packing import PackedBatch
from arriero.data.shards import Shard, rows_from

_MIX = "mix.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Documents that are read by one weight, which is above 0."""

    name: str
    weight: float
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A tokenised corpus of one source or several, in rows numbered one source after another.

    Attributes:
        names: of the sources; a corpus that was given as a whole has one without a name.
        weights: whole numbers that stand to one another as the sources' weights do.
        shards: the sources' tokens.
    """

    names: tuple[str, ...]
    weights: tuple[int, ...]
    shards: tuple[Shard, ...]

    @property
    def num_rows(self) -> int:
        """Rows of all sources."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_tokens(self) -> int:
        """Tokens of all sources."""
        return sum(len(shard.tokens) for shard in self.shards)

    @property
    def firsts(self) -> list[int]:
        """The number of each source's first row."""
        return list(accumulate((shard.num_rows for shard in self.shards[:-1]), initial=0))

    def batch(self, rows: Iterable[int]) -> PackedBatch:
        """The given rows in the order given, as Shard.batch gives those of one source."""
        if len(self.shards) == 1:
            return self.shards[0].batch(rows)
        numbers = np.asarray(list(rows), np.int64)
        sources = np.searchsorted(self.firsts, numbers, side="right") - 1
        present = np.unique(sources).tolist()
        places = np.concatenate([np.flatnonzero(sources == source) for source in present])
        parts = [
            self.shards[source].batch(numbers[sources == source] - self.firsts[source])
            for source in present
        ]
        back = torch.from_numpy(np.argsort(places))
        together = {
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in fields(PackedBatch)
        }
        last = together.pop("last")
        return PackedBatch(**{name: rows[back] for name, rows in together.items()}, last=last)

    def order(self, num_read: Sequence[int], rows_per_step: int, step: int, seed: int) -> list[int]:
        """Rows of training step `step` (from 0).

        Each source's rows are read in a permutation by the seed, then in a new one, and so on.

        Args:
            num_read: how many rows of each source, from its first on, are read at all.
        """
        start, firsts = step * rows_per_step, self.firsts
        before = apportion(self.weights, start)
        after = apportion(self.weights, start + rows_per_step)
        readings = [
            iter(rows_from(num_read[source], position, end - position, seed, stream=source))
            for source, (position, end) in enumerate(zip(before, after, strict=True))
        ]
        return [
            firsts[source] + next(readings[source])
            for source in _seats(self.weights, before, after)
        ]


def write_mix(
    folder: Path, sources: Sequence[Source], folders: Sequence[str] | None = None
) -> None:
    """Say which sources' shards lie in `folder`, each in `shard_folder(folder, number)`.

    Args:
        folders: where they lie instead, by their names in `folder`.
    """
    facts = [
        {"name": source.name, "weight": source.weight}
        | ({"folder": folders[number]} if folders is not None else {})
        for number, source in enumerate(sources)
    ]
    temporary = folder / f".{_MIX}.tmp"
    temporary.write_text(json.dumps({"sources": facts}) + "\n", encoding="utf-8")
    temporary.replace(folder / _MIX)


def shard_folder(folder: Path, number: int) -> Path:
    """Where the shard of a source lies, by its number; a name may be no name for a folder."""
    return folder / f"{number:03d}"


def open_corpus(folder: Path, row_length: int) -> Corpus:
    """What lies in `folder`: sources that write_mix named, or a single shard.

    Raises:
        UserError: a source has not even one row, or not the length that it was written with.
    """
    if not (folder / _MIX).exists():
        return Corpus(("",), (1,), (Shard(folder, row_length),))
    facts = json.loads((folder / _MIX).read_text(encoding="utf-8"))["sources"]
    names = tuple(fact["name"] for fact in facts)
    shards = [
        Shard(_folder_of(folder, number, fact), row_length, f"source {fact['name']}")
        for number, fact in enumerate(facts)
    ]
    return Corpus(names, whole_weights([fact["weight"] for fact in facts]), tuple(shards))


def _folder_of(folder: Path, number: int, fact: Mapping[str, Any]) -> Path:
    return folder / fact["folder"] if "folder" in fact else shard_folder(folder, number)


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the same proportion, as the weights are written.

    >>> whole_weights([0.5, 0.3, 0.2])
    (5, 3, 2)
    """
    exact = [Fraction(str(weight)) for weight in weights]
    scale = math.lcm(*(weight.denominator for weight in exact))
    numbers = [int(weight * scale) for weight in exact]
    return tuple(number // math.gcd(*numbers) for number in numbers)


def apportion(weights: Sequence[int], seats: int) -> list[int]:
    """How many of the first `seats` rows come from each source.

    Seats are given one by one to the source whose number of seats, a half added, is the least for
    its weight; of several the first. So nobody loses a seat when there are more of them, and what
    comes out differs from `seats * share` by at most half the number of sources times the share,
    and a half.

    >>> apportion([5, 3, 2], 4)
    [2, 1, 1]
    """
    total = sum(weights)
    # The seats that would be given up to a moment, each rounded by itself: nearly as many.
    given = [(2 * seats * weight + total) // (2 * total) for weight in weights]
    surplus, waits = sum(given) - seats, _waits(weights)
    sources = range(len(weights))
    for _ in range(-surplus):
        given[min(sources, key=lambda one: ((2 * given[one] + 1) * waits[one], one))] += 1
    for _ in range(surplus):
        # The seat that came last: of several at the same moment, that of the last source.
        given[max(sources, key=lambda one: ((2 * given[one] - 1) * waits[one], one))] -= 1
    return given


def _seats(weights: Sequence[int], before: Sequence[int], after: Sequence[int]) -> list[int]:
    """The sources of the seats between two apportionments, in the order in which they are given."""
    waits = _waits(weights)
    moments = [
        ((2 * seat + 1) * waits[source], source)
        for source, (first, end) in enumerate(zip(before, after, strict=True))
        for seat in range(first, end)
    ]
    return [source for _, source in sorted(moments)]


def _waits(weights: Sequence[int]) -> list[int]:
    """What stands to one another as the inverse weights do: how long a source waits for a seat."""
    scale = math.lcm(*weights)
    return [scale // weight for weight in weights]
