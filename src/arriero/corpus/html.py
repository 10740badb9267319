"""HTML to text: what a reader of the page reads, without scripts, menus and forms."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import import_module
from typing import Any

from arriero.data.files import missing_package

_SKIPPED = frozenset(
    """script style noscript template head nav footer aside form button select iframe svg canvas
    object math audio video""".split()
)
_BLOCKS = frozenset(
    """address article blockquote body center dd details div dl dt fieldset figcaption figure h1 h2
    h3 h4 h5 h6 header hr html li main ol p pre section summary table tbody tfoot thead tr ul
    title""".split()
)
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.IGNORECASE)


def html_text(page: str, how: str) -> str:
    """The text of a page, a line a block; "" if it holds none.

    Args:
        how: `plain`, `trafilatura`, or `auto`: trafilatura where it is installed.

    Raises:
        UserError: trafilatura is wanted and not installed.
    """
    extract = None if how == "plain" else _trafilatura(needed=how == "trafilatura")
    if extract is None:
        return _plain(page)
    return extract(page, include_comments=False, include_tables=True) or ""


def extractor_name(how: str) -> str:
    """What `auto` means here, with its version: another one makes other text."""
    if how == "plain" or _trafilatura(needed=how == "trafilatura") is None:
        return "plain"
    return f"trafilatura {import_module('trafilatura').__version__}"


def declared_charset(page: bytes) -> str:
    """The charset of a meta tag in the first kilobytes; "" if none is named."""
    match = _CHARSET.search(page[:4096])
    return match.group(1).decode() if match else ""


def _trafilatura(*, needed: bool) -> Any:
    try:
        return import_module("trafilatura").extract
    except ImportError:
        if needed:
            raise missing_package("web pages by trafilatura", "trafilatura") from None
        return None


def _plain(page: str) -> str:
    reader = _Reader()
    try:
        reader.feed(page)
        reader.close()
    except (AssertionError, ValueError):
        pass  # what was read until there; a page may hold any bytes
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SKIPPED:
            self._skipping.append(tag)
        elif tag == "body":
            self._skipping.clear()  # a head that was never closed
        if tag in _BLOCKS or tag == "br":
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _BLOCKS or tag in _VOID:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            # Line ends of the source are spaces to a reader.
            self.parts.append(data.replace("\n", " "))
