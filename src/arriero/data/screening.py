"""Comparisons with the places where they stand, and those that cannot be learned from.

The same pair with the same choice again is dropped, the first one stays. The same pair with both
choices is a contradiction: nothing says which one is right, and none of its rows stays. Prompts are
the same whatever their case and the width of their spaces; answers but for the space around them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from arriero.data import files
from arriero.data.preferences import to_preferences
from arriero.data.rows import Bad, Skip, placed, read_rows, require
from arriero.data.tags import prompt_key
from arriero.records import Preference
from arriero.records.prompt import Track

REPEATED = "the same pair again"
CONTRADICTED = "the same pair with both choices"
UNSAFE_CHOICE = "chosen is unsafe, the other safe"

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PlacedPreference:
    """A preference and its `file:line`."""

    where: str
    row: Preference


@dataclass(slots=True)
class Dropped:
    """Rows that are not learned from: how many by reason, and each with its place."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, reason: str, where: str, num: int = 1) -> None:
        """Count a row, or `num` pairs of it, at `file:line`."""
        self.counts[reason] += num
        self.rows.append((where, reason))

    def first_places(self) -> dict[str, list[str]]:
        """Where the first few of each reason stand."""
        places: dict[str, list[str]] = {}
        for where, reason in self.rows:
            if len(found := places.setdefault(reason, [])) < _SHOWN:
                found.append(where)
        return places


def read_placed(
    paths: Sequence[Path], track: Track, dropped: Dropped, *, files_are_batches: bool = False
) -> Iterator[PlacedPreference]:
    """Yield the preferences of files, folders or hub ids with their places.

    Args:
        track: of rows that name none.
        dropped: gets the rows that are of no use.
        files_are_batches: each file is a batch in time, but for rows that name one.

    Raises:
        UserError: as of `read_preferences`.
    """
    read = partial(_placed_of, track=track, dropped=dropped, files_are_batches=files_are_batches)
    return require(files.given_paths(paths), read, "preferences", None)


def _placed_of(
    file: Path, track: Track, dropped: Dropped, files_are_batches: bool
) -> Iterator[PlacedPreference | Bad | Skip]:
    batch = files.stem_of(file) if files_are_batches else ""
    for row, item in placed(read_rows(file), partial(to_preferences, track=track)):
        where = str(file) if row is None else row.where
        if isinstance(item, Preference):
            yield PlacedPreference(where, replace(item, batch=item.batch or batch))
            continue
        if isinstance(item, Skip):
            dropped.add(item.reason, where, item.num)
        yield item


def without_repeats(
    comparisons: Iterable[PlacedPreference], dropped: Dropped
) -> list[PlacedPreference]:
    """The comparisons of one track, each pair once and with one choice; the others are counted."""
    first: dict[tuple[str, str, str], PlacedPreference] = {}
    for comparison in comparisons:
        row = comparison.row
        key = (prompt_key(row.prompt), row.chosen.strip(), row.rejected.strip())
        if first.setdefault(key, comparison) is not comparison:
            dropped.add(REPEATED, comparison.where)
    kept: list[PlacedPreference] = []
    for (prompt, chosen, rejected), comparison in first.items():
        if (prompt, rejected, chosen) in first:
            dropped.add(CONTRADICTED, comparison.where)
        else:
            kept.append(comparison)
    return kept


def is_kept(row: Preference) -> bool:
    """Section 3.2.1: no pair whose chosen answer alone is unsafe; here on both tracks."""
    return not (row.chosen_is_safe is False and row.rejected_is_safe is True)
