"""Evaluation sets: samples with a name, a text and, where there is one, a value of the metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arriero.corpus.contamination.tables import csv_rows, is_csv
from arriero.corpus.contamination.texts import text_of_row
from arriero.data.files import files_of, given_paths, stem_of
from arriero.data.rows import Bad, Row, read_rows
from arriero.records import UserError

_MARKUP = (".xml", ".html", ".htm")
_IDS = ("id", "task_id", "question_id", "sample_id")


@dataclass(frozen=True, slots=True)
class EvalSample:
    """One sample: `id` is the row's own, or else its line; `value` that of the metric."""

    id: str
    line: int
    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class EvalSet:
    """The samples of one file."""

    name: str
    samples: tuple[EvalSample, ...]

    @property
    def has_metric(self) -> bool:
        """Whether its samples have values."""
        return any(sample.value is not None for sample in self.samples)


def read_evals(
    paths: Sequence[Path | str], fields: Sequence[str] = (), metric: str = ""
) -> list[EvalSet]:
    """Read files, or the files of folders: one data set each, named after it.

    Args:
        fields: what of a row is its text; none to find it (`text_of_row`).
        metric: the field of a row that holds its value, or a file of rows `id` and `value`, with
            `dataset` where there are several sets; "" for none.

    Raises:
        UserError: a file is missing or empty, a row is wrong, or a sample has no value.
    """
    files = [file for path in given_paths(list(paths)) for file in files_of(path)]
    stems = Counter(_stem(file) for file in files)
    names = [_stem(file) if stems[_stem(file)] == 1 else stem_of(file) for file in files]
    if twice := [name for name, num in Counter(names).items() if num > 1]:
        raise UserError(f"two evaluation sets are called {twice[0]}; rename one of the files")
    values = Path(metric) if metric and Path(metric).is_file() else None
    field = "" if values else metric
    sets = [_read(file, name, fields, field) for file, name in zip(files, names, strict=True)]
    return _with_values(sets, values) if values else sets


def _stem(file: Path) -> str:
    return stem_of(file).rpartition("/")[2]


def _read(file: Path, name: str, fields: Sequence[str], metric: str) -> EvalSet:
    samples: list[EvalSample] = []
    if file.suffix.lower() in _MARKUP:
        raise UserError(f"{file}: its lines are no samples; write rows of JSON or CSV from it")
    rows = csv_rows(file, fields, metric) if is_csv(file) else read_rows(file)
    for row in rows:
        if isinstance(row, Bad):
            raise UserError(f"{row.where}: {row.problem}")
        if isinstance(row, Row):
            try:
                text = text_of_row(row.value, fields)
                value = _number(row.value, metric) if metric else None
            except ValueError as error:
                raise UserError(f"{row.where}: {error}") from None
            samples.append(EvalSample(_id(row), row.line, text, value))
    if not samples:
        raise UserError(f"{file} holds no samples: it is empty; name another file")
    return EvalSet(name, tuple(samples))


def _id(row: Row) -> str:
    given = row.value if isinstance(row.value, dict) else {}
    named = (given[key] for key in _IDS if isinstance(given.get(key), (str, int)))
    return str(next(named, row.line))


def _number(value: Any, field: str) -> float:
    found = value.get(field) if isinstance(value, dict) else None
    if not isinstance(found, (bool, int, float)) or not math.isfinite(found):
        raise ValueError(
            f"{field!r} should be a number, the sample's metric; name a field or a file that "
            "exists with --metric"
        )
    return float(found)


def _with_values(sets: Sequence[EvalSet], file: Path) -> list[EvalSet]:
    """The sets with the values of a file: one for each sample, none for others."""
    values: dict[tuple[str, str], float] = {}
    known = {given.name for given in sets}
    for row in read_rows(file):
        if isinstance(row, Bad):
            raise UserError(f"{row.where}: {row.problem}")
        if not isinstance(row, Row):
            continue
        where = f"{file}:{row.line}"
        if not isinstance(row.value, dict) or "id" not in row.value:
            raise UserError(f"{where}: no `id`; a line is the id of a sample and its `value`")
        name = row.value.get("dataset", sets[0].name if len(sets) == 1 else None)
        if not isinstance(name, str) or name not in known:
            raise UserError(f"{where}: `dataset` should be one of {', '.join(sorted(known))}")
        key = name, str(row.value["id"])
        if key in values:
            raise UserError(f"{where}: {key[0]} {key[1]} has a value already; remove one")
        try:
            values[key] = _number(row.value, "value")
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    for given in sets:
        ids = Counter(sample.id for sample in given.samples)
        if twice := [name for name, num in ids.items() if num > 1]:
            raise UserError(f"{given.name}: two samples have the id {twice[0]}; {file} cannot tell")
        if missing := [name for name in ids if (given.name, name) not in values]:
            raise UserError(
                f"{file} has no value for {given.name} {missing[0]}, nor for "
                f"{len(missing) - 1:,} more; give one for every sample"
            )
    strangers = values.keys() - {(each.name, s.id) for each in sets for s in each.samples}
    if strangers:
        name, of = min(strangers)
        raise UserError(f"{file}: {name} has no sample {of}; it is a file of other samples")
    return [
        EvalSet(
            given.name,
            tuple(replace(each, value=values[given.name, each.id]) for each in given.samples),
        )
        for given in sets
    ]
