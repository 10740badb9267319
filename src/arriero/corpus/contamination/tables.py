"""Evaluation sets in CSV, with names of columns or without: MMLU's and TruthfulQA's form."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from arriero.corpus.contamination.texts import is_known
from arriero.data.files import read_text_lines
from arriero.data.rows import Bad, Row

_LONGEST_NAME = 40
_ENDING = re.compile(r"\.csv(\.\w+)?$")
_TRUTH = {"true": 1.0, "false": 0.0}


def is_csv(file: Path) -> bool:
    """Whether a file's name says so, compressed or not."""
    return _ENDING.search(file.name.lower()) is not None


def csv_rows(file: Path, fields: Sequence[str] = (), metric: str = "") -> Iterator[Row | Bad]:
    """The rows of a CSV file; a cell may have line breaks in it.

    A row is a mapping where the first line names columns: the fields that are asked for, or one
    that is known to hold text. Else it is its cells, a line break between them.

    Args:
        metric: the column whose cells are numbers.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    reader = csv.reader(f"{line}\n" for _, line in read_text_lines(file))
    names: list[str] | None = None
    first = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Bad(f"{file}:{first}", f"no row of CSV ({error})")
            return
        if cells is None:
            return
        line, first = first, reader.line_num + 1
        if line == 1 and _are_names(cells, fields):
            names = cells
        elif cells and names is None:
            yield Row("\n".join(cells), file, line)
        elif cells and names is not None:
            if len(cells) != len(names):
                yield Bad(f"{file}:{line}", f"{len(cells)} cells in {len(names)} columns")
                continue
            row = dict(zip(names, cells, strict=True))
            yield Row(row | {metric: _number(row[metric])} if metric in row else row, file, line)


def _are_names(cells: Sequence[str], fields: Sequence[str]) -> bool:
    if fields:
        return set(fields) <= set(cells)
    are_short = all(len(cell) <= _LONGEST_NAME for cell in cells)
    return are_short and any(map(is_known, cells))


def _number(cell: str) -> float | str:
    try:
        return float(_TRUTH.get(cell.strip().lower(), cell))
    except ValueError:
        return cell
