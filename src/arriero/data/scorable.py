"""Reads whatever a reward model can score: pairs, and dialogs that end with an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arriero.data import files
from arriero.data.dialogs import to_dialogs
from arriero.data.formats import recognize
from arriero.data.preferences import to_preferences
from arriero.data.rows import Bad, Row, Skip, read_rows
from arriero.records import Dialog, Message, Preference, UserError

_DIALOGS = ("messages", "sharegpt", "completion", "alpaca", "self_instruct", "oasst", "table")


@dataclass(frozen=True, slots=True)
class Scorable:
    """What one item of a row asks for.

    Attributes:
        file, line: where it stands; in parquet and hub sets the number of the row.
        sides: dialogs by name: `answer` alone, or `chosen` and `rejected`; empty where the row is
            of no use.
        skipped: why it is of no use, "" if it is.
    """

    file: str
    line: int
    sides: dict[str, Dialog]
    skipped: str = ""


def read_scorable(path: Path | str, *, skipped: Counter[str] | None = None) -> Iterator[Scorable]:
    """Yield every item of a file, a folder or a hub id, in order.

    Args:
        skipped: counts, by reason, what is no item at all: replies whose parent is not there.

    Raises:
        UserError: the path is missing, or a row cannot be scored (`file:line: ...`).
    """
    (given,) = files.given_paths(path)
    for file in files.files_of(given):
        for row in read_rows(file):
            if isinstance(row, Bad):
                raise UserError(f"{row.where}: {row.problem}")
            if isinstance(row, Skip):
                if skipped is not None:
                    skipped[row.reason] += row.num
                continue
            try:
                yield from _of_row(row)
            except ValueError as error:
                raise UserError(f"{row.where}: {error}") from error


def _of_row(row: Row) -> Iterator[Scorable]:
    found = recognize(row.value)
    is_log = found == "hh" and "chosen" not in row.value
    items = to_dialogs(row) if found in _DIALOGS or is_log else to_preferences(row)
    for item in items:
        if isinstance(item, Skip):
            yield Scorable(str(row.file), row.line, {}, item.reason)
        else:
            yield Scorable(str(row.file), row.line, _sides(item))


def _sides(item: Dialog | Preference) -> dict[str, Dialog]:
    if isinstance(item, Dialog):
        return {"answer": item}
    return {
        name: Dialog((*item.prompt, Message("assistant", text)))
        for name, text in (("chosen", item.chosen), ("rejected", item.rejected))
    }
