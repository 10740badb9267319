"""Rows with a text: JSON lines and parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from arriero.corpus.config import SourceConfig
from arriero.corpus.readers.items import Found, Item, Problem
from arriero.corpus.readers.lines import bounded_lines, decoded
from arriero.data.files import missing_package


def json_lines(chunks: Iterable[bytes], source: SourceConfig, max_bytes: int) -> Iterator[Item]:
    """A document a line; its place is the line's number."""
    for line in bounded_lines(chunks, max_bytes):
        if isinstance(line, Problem):
            yield line
            continue
        number, content = line
        if not content or content.isspace():
            continue
        text = decoded(content, number)
        yield text if isinstance(text, Problem) else _from_json(text, number, source)


def parquet_rows(path: Path, source: SourceConfig, max_bytes: int) -> Iterator[Item]:
    """A document a row; its place is the row's number.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        parquet: Any = import_module("pyarrow.parquet")
        arrow: Any = import_module("pyarrow")
    except ImportError:
        raise missing_package(f"{path} (parquet)", "pyarrow") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            present = [
                name for name in (*source.text, source.url) if name in file.schema_arrow.names
            ]
            if not any(name in present for name in source.text):
                yield Problem(_no_field(source), 0)
                return
            for batch in file.iter_batches(batch_size=256, columns=list(dict.fromkeys(present))):
                for row in batch.to_pylist():
                    number += 1
                    item = from_row(row, number, source)
                    too_long = isinstance(item, Found) and len(item.text) > max_bytes
                    yield Problem("line too long", number) if too_long else item
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Problem("not readable whole", number, str(error).split("\n", 1)[0])


def from_row(row: Any, place: int, source: SourceConfig) -> Item:
    """The document of a row of fields."""
    if not isinstance(row, dict):
        return Problem("a row that is no object", place)
    texts = [row[name] for name in source.text if row.get(name) is not None]
    if not texts:
        return Problem(_no_field(source), place)
    texts = texts if source.join else texts[:1]
    if not all(isinstance(text, str) for text in texts):
        return Problem("a text that is no string", place)
    url = row.get(source.url)
    return Found("\n\n".join(texts), place, url if isinstance(url, str) else "")


def _from_json(text: str, number: int, source: SourceConfig) -> Item:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return Problem("not JSON", number)
    return from_row(row, number, source)


def _no_field(source: SourceConfig) -> str:
    return f"no field {' or '.join(source.text)}"
