"""Reads a corpus as a stream of documents, none of them larger than a chapter.

Rows of JSON and parquet are a document each. Prose (txt, md, rst) is cut between paragraphs into
pieces of at most 20,000 characters, so that nothing giant travels through tokenizing and mixing;
in a file with Wikipedia's ` = Title = ` headings every title starts a document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from arriero.data import files
from arriero.data.formats import TEXT_KEYS, first_key, recognize, unfit
from arriero.data.rows import Bad, Row, Skip, container_of, convert, read_rows, require

MAX_CHARACTERS = 20_000

_TITLE = re.compile(r" = (?!=).*(?<!=) = ")


def read_documents(
    paths: Path | str | Sequence[Path | str], *, skipped: Counter[str] | None = None
) -> Iterator[str]:
    """Yield the documents of files, folders (their files by name) or hub ids.

    Args:
        paths: one or several.
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a path is missing or without text, or a row is wrong (`file:line: ...`).
    """
    return require(files.given_paths(paths), documents_of, "documents", skipped)


def documents_of(file: Path) -> Iterator[str | Bad | Skip]:
    """The documents of one file, with what is wrong or of no use in their places."""
    if container_of(file) in ("plain", "transcript"):
        return split_prose(line for _, line in files.read_text_lines(file))
    return convert(read_rows(file), to_document)


def split_prose(lines: Iterable[str], max_characters: int = MAX_CHARACTERS) -> Iterator[str]:
    """Yield pieces of prose, cut at titles and before the paragraph that would make one too long.

    A paragraph that is too long by itself is cut between words.

    Args:
        lines: without their ends.
        max_characters: the most a piece may have.
    """
    piece: list[str] = []
    length = 0
    for paragraph in _paragraphs(lines):
        starts_anew = _TITLE.fullmatch(paragraph[0]) is not None
        size = sum(len(line) + 1 for line in paragraph)
        if piece and (starts_anew or length + size > max_characters):
            yield from _cut(piece, max_characters)
            piece, length = [], 0
        piece += paragraph
        length += size
    yield from _cut(piece, max_characters)


def _paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield runs of lines: a paragraph with the empty lines after it, so that none is lost."""
    paragraph: list[str] = []
    for line in lines:
        is_start = bool(line.strip()) and paragraph and not paragraph[-1].strip()
        if is_start and any(earlier.strip() for earlier in paragraph):
            yield paragraph
            paragraph = []
        if line.strip() or paragraph:
            paragraph.append(line)
    if paragraph:
        yield paragraph


def _cut(piece: list[str], max_characters: int) -> Iterator[str]:
    """Yield a piece without the empty lines around it, cut between words where it is too long."""
    text = "\n".join(piece).rstrip()
    while len(text) > max_characters:
        end = max(text.rfind(space, 1, max_characters + 1) for space in " \n")
        end = end if end > 0 else max_characters
        if head := text[:end].rstrip():
            yield head
        text = text[end:].lstrip()
    if text.strip():
        yield text


def to_document(row: Row) -> Iterator[str | Skip]:
    """Yield the document of one row.

    Raises:
        ValueError: the row is in another format.
    """
    value = row.value
    key = first_key(value, TEXT_KEYS) if isinstance(value, dict) else None
    if key is None or recognize(value) not in ("text", "hh"):
        raise ValueError(unfit(recognize(value), value, "documents"))
    if not isinstance(value[key], str):
        raise ValueError(f"{key!r} should be a string; mend or remove the row")
    yield value[key] if value[key].strip() else Skip("empty text")
