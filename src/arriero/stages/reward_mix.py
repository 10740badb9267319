"""What each reward model learns from: all of some parts and a share of others (section 3.2.2).

The helpfulness model takes all own helpfulness data and as much again, drawn evenly from own safety
and open data; the safety model all own safety and open harmlessness data, which are nine tenths,
and helpfulness data, own and open. Both are values of `MixConfig`; any other mix is written alike.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.records import Preference, UserError
from arriero.records.prompt import Track
from arriero.training.optimizer import completed_by

_WORDS = ("own", "open", "helpfulness", "safety")


class TrackMix(BaseModel):
    """All of some parts, and so much of the others that these are a share of the whole.

    A part is `own` or `open`, `helpfulness` or `safety`, both words, or a source by name. A row
    belongs to the first part that fits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    all: tuple[str, ...] = Field(default=(), description="parts that are taken whole")
    rest: tuple[str, ...] = Field(default=(), description="parts that are drawn from, evenly")
    rest_share: float = Field(default=0.0, ge=0, lt=1, description="share of the rest in the mix")

    @model_validator(mode="after")
    def _parts_are_parts(self) -> TrackMix:
        names = (*self.all, *self.rest)
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"{name!r} is named twice")
            unknown = [word for word in name.split() if word not in _WORDS]
            near = [difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.75) for word in unknown]
            if unknown and (len(unknown) < len(name.split()) or near[0]):
                # Else it may be the name of a source, which only the rows can tell.
                known = ", ".join(_WORDS)
                raise ValueError(
                    f"{name!r} is no part; say {known}, two of these words, or a source"
                )
        return self


HELPFULNESS_MIX = TrackMix(all=("own helpfulness",), rest=("own safety", "open"), rest_share=0.5)
SAFETY_MIX = TrackMix(
    all=("own safety", "open safety"),
    rest=("own helpfulness", "open helpfulness"),
    rest_share=0.1,
)


class MixConfig(BaseModel):
    """The published mixes; without open data they are made of the two own tracks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open: tuple[str, ...] = Field(
        default=(), description="sources, by name, that are open data; all others are one's own"
    )
    helpfulness: Annotated[TrackMix, completed_by(HELPFULNESS_MIX)] = HELPFULNESS_MIX
    safety: Annotated[TrackMix, completed_by(SAFETY_MIX)] = SAFETY_MIX

    def of(self, track: Track) -> TrackMix:
        """The mix of a model."""
        return self.helpfulness if track == "helpfulness" else self.safety


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a part is there, is wanted by the mix, and is used."""

    name: str
    rows: int
    target: int
    used: int

    @property
    def shortage(self) -> str:
        """A line for a part that is too small for its share; "" for any other."""
        if self.used >= self.target:
            return ""
        return f"the mix wants {self.target:,} pairs of {self.name}, there are {self.rows:,}"


@dataclass(frozen=True, slots=True)
class Mixed:
    """A mix: which rows, in the order of its parts, and how it came about."""

    places: list[int]
    parts: list[Part]

    def results(self) -> dict[str, Any]:
        """Share of each part that gave anything, and all counts, for results.json."""
        total = len(self.places)
        return {
            "mix": {part.name: part.used / total for part in self.parts if part.used},
            "mix_counts": [
                {
                    "part": part.name,
                    "pairs": part.rows,
                    "target": part.target,
                    "used": part.used,
                }
                for part in self.parts
            ],
        }


def mixed(config: MixConfig, track: Track, rows: Sequence[Preference], seed: int) -> Mixed:
    """Draw the mix of a model out of all rows there are.

    The rest gives each of its parts that has rows the same count; what a part lacks the larger ones
    give.

    >>> row = lambda track, source: Preference((), "a", "b", track=track, source=source)
    >>> rows = [row("helpfulness", "mine")] * 6 + [row("safety", "mine")] * 2
    >>> rows += [row("safety", "hh")] * 9
    >>> found = mixed(MixConfig(open=("hh",)), "helpfulness", rows, seed=0)
    >>> [(part.name, part.target, part.used) for part in found.parts]
    [('own helpfulness', 6, 6), ('own safety', 3, 2), ('open', 3, 4)]

    Raises:
        UserError: a part is no source of the rows, or there is nothing to take whole.
    """
    mix = config.of(track)
    members = _members(config, track, rows)
    whole = sum(len(members[name]) for name in mix.all)
    if not whole:
        raise UserError(
            f"mix.{track}.all: no pairs of {' or '.join(mix.all) or 'any part'}; name a part that "
            f"has some (sources: {_sources(rows)})"
        )
    wanted = round(whole * mix.rest_share / (1 - mix.rest_share))
    sizes = [len(members[name]) for name in mix.rest]
    targets = even_counts([wanted if size else 0 for size in sizes], wanted)
    counts = even_counts(sizes, wanted)
    parts = [Part(name, len(members[name]), len(members[name]), len(members[name]))
             for name in mix.all]  # fmt: skip
    places = [place for name in mix.all for place in members[name]]
    generator = np.random.default_rng(seed)
    for name, size, target, used in zip(mix.rest, sizes, targets, counts, strict=True):
        drawn = generator.permutation(size)[:used]
        places += [members[name][index] for index in sorted(drawn)]
        parts.append(Part(name, size, target, used))
    return Mixed(places, parts)


def even_counts(sizes: Sequence[int], total: int) -> list[int]:
    """`total` over parts of these sizes, as evenly as they allow.

    >>> even_counts([2, 9, 0], 8)
    [2, 6, 0]
    """
    counts = [0] * len(sizes)
    for taken, index in enumerate(sorted(range(len(sizes)), key=lambda index: sizes[index])):
        counts[index] = min(sizes[index], (total - sum(counts)) // (len(sizes) - taken))
    return counts


def _members(config: MixConfig, track: Track, rows: Sequence[Preference]) -> dict[str, list[int]]:
    """Places of the rows of every part."""
    mix = config.of(track)
    sources = {row.source for row in rows}
    for name in config.open:
        if name not in sources:
            raise UserError(f"mix.open: no pairs of source {name!r} (there are {_sources(rows)})")
    members: dict[str, list[int]] = {name: [] for name in (*mix.all, *mix.rest)}
    for name in members:
        if name not in sources and not (name and set(name.split()) <= set(_WORDS)):
            raise UserError(
                f"mix.{track}: {name!r} is no part; say {', '.join(_WORDS)}, two of these words, "
                f"or a source (there are {_sources(rows)})"
            )
    for place, row in enumerate(rows):
        words = {"open" if row.source in config.open else "own", row.track}
        for name, found in members.items():
            if name == row.source or set(name.split()) <= words:
                found.append(place)
                break
    return members


def _sources(rows: Sequence[Preference]) -> str:
    return ", ".join(sorted({row.source for row in rows if row.source})) or "none with a name"
