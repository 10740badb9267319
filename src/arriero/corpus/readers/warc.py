"""WARC and WET: pages that a crawler kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from arriero.corpus.readers.items import Found, Item, Problem
from arriero.corpus.readers.prose import page
from arriero.data.files import missing_package, read_start
from arriero.records import UserError

_ZSTD = b"\x28\xb5\x2f\xfd"
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
            for record in reader(_plain(file, path)):
                number += 1
                item = _item(record, number, max_bytes, extract)
                if item is not None:
                    yield item
    except UserError:
        raise
    except Exception as error:  # whatever strange bytes make the parser raise
        yield Problem("not readable whole", number + 1, f"{type(error).__name__}: {error}")
        return
    if number == 0:
        yield Problem("no WARC record")


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
        charset = (
            more.lower().rpartition("charset=")[2].strip(" \"';")
            if "charset=" in more.lower()
            else ""
        )
    elif not is_text:
        return None
    content = record.content_stream().read(max_bytes + 1)
    if len(content) > max_bytes:
        return Problem("page too long", number)
    if not is_text:
        return page(content, charset, url, number, extract)
    if b"\0" in content:
        return Problem("null bytes", number)
    try:
        return Found(content.decode(charset or "utf-8"), number, url)
    except (LookupError, UnicodeDecodeError):
        return Problem("not UTF-8", number)
