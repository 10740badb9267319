"""Prompts that stand in two files, such as a test prompt inside the training set.

Any two formats can be compared: of what answers a prompt, the prompt is taken. Two prompts are the
same whatever their case and the width of their spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from arriero.data import files
from arriero.data.prompts import prompts_in
from arriero.data.rows import Bad, Skip, placed, read_rows
from arriero.data.tags import prompt_key
from arriero.records import UserError

MAX_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Leak:
    """A prompt of one file (`file:line`) that stands in another, at its first place there."""

    where: str
    other: str


def find_leaks(path: Path | str, other: Path | str) -> list[Leak]:
    """The prompts of a file or folder that `other` has too, in order, each place of `path` once.

    Raises:
        UserError: one of the two cannot be read, or has a row that holds no prompt.
    """
    known: dict[str, str] = {}
    for where, key in _places(other):
        known.setdefault(key, where)
    found = {where: known[key] for where, key in _places(path) if key in known}
    return [Leak(where, place) for where, place in found.items()]


def render_leaks(leaks: list[Leak]) -> str:
    """The first leaks as lines of plain text."""
    lines = [f"  {leak.where}: the prompt of {leak.other}" for leak in leaks[:MAX_SHOWN]]
    if len(leaks) > MAX_SHOWN:
        lines.append(f"  and {len(leaks) - MAX_SHOWN:,} more")
    return "\n".join([f"prompts in both: {len(leaks):,}", *lines, ""])


def _places(path: Path | str) -> Iterator[tuple[str, str]]:
    """Yield (`file:line`, key) of every prompt of a path."""
    (given,) = files.given_paths(path)
    for file in files.files_of(given):
        for row, item in placed(read_rows(file), partial(prompts_in, track="helpfulness")):
            if isinstance(item, Bad):
                raise UserError(f"{item.where}: {item.problem}")
            if row is not None and not isinstance(item, Skip):
                yield row.where, prompt_key(item)
