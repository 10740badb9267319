"""Lines of a stream of bytes, of which none is held that is longer than a bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arriero.corpus.readers.items import Problem
from arriero.records import UserError

_MARK = b"\xef\xbb\xbf"


def bounded_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[int, bytes] | Problem]:
    """Yield (number from 1, line without its end), or what is wrong in its place.

    A line that is longer than `max_bytes` is passed over without being held. Where the stream
    breaks, the last, cut line is left out.
    """
    number, parts, size = 1, [], 0
    stream = iter(chunks)
    while True:
        try:
            chunk = next(stream, b"")
        except UserError as error:
            yield Problem("not readable whole", number, str(error))
            return
        *whole, rest = chunk.split(b"\n") if chunk else [b""]
        for line in whole:
            size += len(line)
            parts.append(line)
            yield _line(number, parts, size, max_bytes)
            number, parts, size = number + 1, [], 0
        if not chunk:
            break
        size += len(rest)
        if size <= max_bytes:
            parts.append(rest)
        else:
            parts.clear()
    if size:
        yield _line(number, parts, size, max_bytes)


def _line(number: int, parts: list[bytes], size: int, limit: int) -> tuple[int, bytes] | Problem:
    if size > limit:
        return Problem("line too long", number)
    line = b"".join(parts).removesuffix(b"\r")
    return number, line.removeprefix(_MARK) if number == 1 else line


def decoded(line: bytes, place: int) -> str | Problem:
    """The line as text, or why it is none."""
    if b"\0" in line:
        return Problem("null bytes", place)
    try:
        return line.decode()
    except UnicodeDecodeError:
        return Problem("not UTF-8", place)
