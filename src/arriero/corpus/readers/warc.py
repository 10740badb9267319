"""WARC and WET: pages that a crawler kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from arriero.corpus.readers.items import Found, Item, Problem
from arriero.corpus.readers.prose import decoded_page, page
from arriero.data.files import missing_package, read_start
from arriero.records import UserError

_ZSTD = b"\x28\xb5\x2f\xfd"
_CUT, _WITHIN = "not readable whole", "it ends within a record"
_PAGES = ("text/html", "application/xhtml+xml")


def warc_records(path: Path, max_bytes: int, extract: str) -> Iterator[Item]:
    """A document for each answer with a page or plain text, and each record of extracted text.

    Its place is the record's number among all. Records of other kinds, and answers that are no
    success, are passed over silently: no crawl is without them.

    Raises:
        UserError: warcio is not installed.
    """
    try:
        reader: Any = import_module("warcio.archiveiterator").ArchiveIterator
    except ImportError:
        raise missing_package(f"{path} (WARC)", "warcio") from None
    number = 0
    try:
        with path.open("rb") as file:
            records = reader(_plain(file, path))
            records.loader.load_http_headers = _whole_head(records.loader.load_http_headers)
            for record in records:
                number += 1
                item = _item(record, number, max_bytes, extract)
                if _is_cut(record):
                    item = Problem(_CUT, number, _WITHIN)
                if item is not None:
                    yield item
    except UserError:
        raise
    except Exception as error:  # whatever strange bytes make the parser raise
        yield Problem(_CUT, number + 1, f"{type(error).__name__}: {error}")
        return
    if number == 0:
        yield Problem("no WARC record")


def _whole_head(load: Callable[..., Any]) -> Callable[..., Any]:
    """Reads an answer's head; where the file ends within it, warcio sees the end of all."""

    def loaded(*given: Any) -> Any:
        try:
            return load(*given)
        except EOFError:
            raise ValueError(_WITHIN) from None

    return loaded


def _plain(file: BinaryIO, path: Path) -> BinaryIO:
    """warcio opens gzip itself, a member a record."""
    if read_start(path, 4) != _ZSTD:
        return file
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return cast(BinaryIO, reader)


def _item(record: Any, number: int, max_bytes: int, extract: str) -> Item | None:
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    is_text = record.rec_type == "conversion"
    charset = ""
    if record.rec_type == "response" and record.http_headers is not None:
        if record.http_headers.get_statuscode() != "200":
            return None
        kind, _, more = (record.http_headers.get_header("Content-Type") or "").partition(";")
        is_text = kind.strip().lower() == "text/plain"
        if not is_text and kind.strip().lower() not in _PAGES:
            return None
        charset = _charset(more)
    elif not is_text:
        return None
    content = record.content_stream().read(max_bytes + 1)
    if len(content) > max_bytes:
        return Problem("page too long", number)
    if not is_text:
        return page(content, charset, url, number, extract)
    text = decoded_page(content, (charset, "utf-8"), number)
    return text if isinstance(text, Problem) else Found(text, number, url)


def _charset(parameters: str) -> str:
    """What follows `charset=` in a Content-Type; "" if nothing does.

    >>> _charset(' boundary=x; Charset="UTF-8"; q=1')
    'utf-8'
    """
    _, found, rest = parameters.lower().rpartition("charset=")
    return rest.partition(";")[0].strip(" \"'") if found else ""


def _is_cut(record: Any) -> bool:
    """Whether the file ended within the record: warcio takes what there is for all of it."""
    if not record.length and record.rec_headers.get_header("Content-Length") is None:
        return True  # within its head
    stream = record.raw_stream
    while stream.read(1 << 16):
        pass
    return getattr(stream, "limit", 0) > 0
