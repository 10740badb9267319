"""The files of a built corpus, a list to be shared out, and what stands in each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arriero.corpus.reading import source_names
from arriero.data.files import read_lines
from arriero.records import UserError


def files_of_part(corpus: Path, part: str) -> list[tuple[str, Path]]:
    """(source, file) of everything under `documents/` or `removed/`, in the recipe's order.

    Raises:
        UserError: the corpus is not built.
    """
    return [
        (source, path)
        for source in source_names(corpus)
        for path in sorted((corpus / part / source).glob("*.jsonl.zst"))
    ]


def rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The documents of one file, each a mapping with `id` and `text` among others.

    Raises:
        UserError: the file is damaged; the error names it and the line.
    """
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not all(
            isinstance(row.get(k), str) for k in ("id", "text")
        ):
            raise UserError(f"{path}:{number}: no document of a built corpus; build it again")
        yield row
