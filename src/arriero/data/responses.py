"""Reads answers with a human grade (`score`, 1 to 7) or a safety label (`is_safe`), or both.

A row is a dialog in any format that ends with an answer, such as `prompt` and `response`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from arriero.data import files
from arriero.data.dialogs import to_dialogs
from arriero.data.formats import first_key, holds_preferences, recognize
from arriero.data.rows import Bad, Row, Skip, convert, read_rows, require
from arriero.data.tags import to_label
from arriero.records import BEST_GRADE, RatedResponse

_TAGS = ("score", "is_safe")


def holds_responses(path: Path | str) -> bool:
    """Whether the first row of a path carries a grade or a label of one answer.

    A row that compares answers is none, whatever other keys it has.

    Raises:
        UserError: the path is missing or cannot be read.
    """
    (given,) = files.given_paths(path)
    for file in files.files_of(given):
        for row in read_rows(file):
            if isinstance(row, Row):
                value = row.value
                if holds_preferences(recognize(value), value):
                    return False
                return isinstance(value, dict) and first_key(value, _TAGS) is not None
    return False


def read_responses(
    paths: Path | str | Sequence[Path | str], *, skipped: Counter[str] | None = None
) -> Iterator[RatedResponse]:
    """Yield the rated answers of files, folders (their files by name) or hub ids.

    Args:
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a path is missing or without rated answers, or a row is wrong (`file:line: ...`).
    """
    return require(files.given_paths(paths), _responses_of, "rated answers", skipped)


def _responses_of(file: Path) -> Iterator[RatedResponse | Bad | Skip]:
    return convert(read_rows(file), to_responses)


def to_responses(row: Row) -> Iterator[RatedResponse | Skip]:
    """Yield the rated answers of one row.

    Raises:
        ValueError: the row is no dialog with an answer, or its grade or label is none.
    """
    dialogs = list(to_dialogs(row))
    grade = to_grade(row.value.get("score"))
    is_safe = to_label(row.value.get("is_safe"), "is_safe")
    for dialog in dialogs:
        if isinstance(dialog, Skip):
            yield dialog
        elif grade is None and is_safe is None:
            yield Skip("neither a score nor a label")
        else:
            yield RatedResponse(dialog, grade, is_safe)


def to_grade(value: object) -> float | None:
    """A grade from 1 to 7, or None where there is none.

    Raises:
        ValueError: another value.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= BEST_GRADE:
        return float(value)
    raise ValueError(f"'score' should be a number from 1 to {BEST_GRADE}, not {value!r}")
