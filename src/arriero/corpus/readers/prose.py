"""Prose: text and markdown files, whole or cut between paragraphs; web pages as files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from arriero.corpus.html import declared_charset, html_text
from arriero.corpus.readers.items import Found, Item, Problem
from arriero.corpus.readers.lines import bounded_lines, decoded
from arriero.data.documents import split_prose
from arriero.records import UserError


def prose(chunks: Iterable[bytes], max_characters: int, max_bytes: int) -> Iterator[Item]:
    """Pieces of at most `max_characters`, cut between paragraphs; 0 takes the file whole.

    A line that is no text is left out and named; a whole file longer than `max_bytes` is cut too.
    """
    problems: list[Problem] = []

    def lines() -> Iterator[str]:
        size = 0
        for line in bounded_lines(chunks, max_bytes):
            if isinstance(line, Problem):
                problems.append(line)
                continue
            text = decoded(line[1], line[0])
            if isinstance(text, Problem):
                problems.append(text)
                continue
            # A paragraph is held whole: one that has no end is given one.
            size = size + len(text) if text and size < max_bytes else 0
            if text and not size:
                yield ""
            yield text

    for number, piece in enumerate(split_prose(lines(), max_characters or max_bytes), 1):
        yield from problems
        problems.clear()
        yield Found(piece, number)
    yield from problems


def page_file(chunks: Iterable[bytes], max_bytes: int, extract: str) -> Iterator[Item]:
    """A file of HTML, a document."""
    content = bytearray()
    try:
        for chunk in chunks:
            content += chunk
            if len(content) > max_bytes:
                yield Problem("page too long")
                return
    except UserError as error:
        yield Problem("not readable whole", 0, str(error))
        return
    yield page(bytes(content), "", "", 1, extract)


def page(content: bytes, charset: str, url: str, place: int | str, extract: str) -> Item:
    """The document of a page; of a charset that is not known it is taken for UTF-8.

    Args:
        charset: what the server said; before what the page says.
    """
    text = decoded_page(content, (charset, declared_charset(content), "utf-8"), place)
    return text if isinstance(text, Problem) else Found(html_text(text, extract), place, url)


def decoded_page(content: bytes, charsets: Iterable[str], place: int | str) -> str | Problem:
    """The content by the first of the charsets that is one and fits, or why it is no text."""
    if b"\0" in content:
        return Problem("null bytes", place)
    for name in filter(None, charsets):
        # An unknown one is a LookupError, bytes that do not fit are a ValueError.
        with suppress(LookupError, ValueError):
            return content.decode(name)
    return Problem("not UTF-8", place)
