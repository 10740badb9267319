"""Which reader a file gets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from arriero.corpus.config import SourceConfig
from arriero.corpus.listing import InputFile
from arriero.corpus.readers.archives import tar_members, zip_members
from arriero.corpus.readers.items import Item, Problem
from arriero.corpus.readers.prose import page_file, prose
from arriero.corpus.readers.rows import json_lines, parquet_rows
from arriero.corpus.readers.warc import warc_records
from arriero.data.files import read_chunks


def read_file(
    file: InputFile, source: SourceConfig, max_bytes: int, extract: str
) -> Iterator[Item]:
    """The texts of a file in order, and what is wrong in their places."""
    if not file.format:
        yield Problem(file.problem)
        return
    if file.size == 0:
        yield Problem("empty file")
        return
    path = Path(file.path)
    inside = partial(_stream, source=source, max_bytes=max_bytes, extract=extract)
    if file.format == "parquet":
        yield from parquet_rows(path, source, max_bytes)
    elif file.format == "warc":
        yield from warc_records(path, max_bytes, extract)
    elif file.format == "tar":
        yield from tar_members(path, inside)
    elif file.format == "zip":
        yield from zip_members(path, inside)
    else:
        yield from inside(read_chunks(path), file.format)


def _stream(
    chunks: Iterator[bytes], form: str, *, source: SourceConfig, max_bytes: int, extract: str
) -> Iterator[Item]:
    if form == "jsonl":
        return json_lines(chunks, source, max_bytes)
    if form == "html":
        return page_file(chunks, max_bytes, extract)
    return prose(chunks, source.max_characters, max_bytes)
