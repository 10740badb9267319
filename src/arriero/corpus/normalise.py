"""Makes text uniform before it is judged: Unicode form, control characters, white space."""

from __future__ import annotations

import re
import unicodedata

from arriero.corpus.config import NormaliseConfig

# All of C0 and C1 but tab, line feed and carriage return; marks that no eye sees; noncharacters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_BLANK = re.compile(r"\n{3,}")


def normalised(text: str, config: NormaliseConfig) -> tuple[str, list[str]]:
    """The text as it goes on, and what was changed: surrogates, control, unicode, whitespace.

    What is changed by one is in no need of it again. Indentation at a line's beginning is kept in
    its width, so that code stays code.
    """
    changes: list[str] = []

    def became(new: str, change: str) -> str:
        if new != text:
            changes.append(change)
        return new

    if not text.isascii():
        text = became(_mended(text), "surrogates")
    if config.control:
        text = became(_CONTROL.sub("", text), "control")
    if config.unicode and not text.isascii():
        text = became(unicodedata.normalize(config.unicode, text), "unicode")
    if config.whitespace:
        text = became(_even(text), "whitespace")
    return text, changes


def _mended(text: str) -> str:
    """Halves of a pair joined, and halves alone replaced: neither can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _even(text: str) -> str:
    if "\r" in text or not text.isascii():
        text = _ENDS.sub("\n", text)
    if "\t" in text or "  " in text or not text.isascii():
        text = "\n".join(map(_even_line, text.split("\n")))
    if " \n" in text:
        text = "\n".join(line.rstrip(" ") for line in text.split("\n"))
    if "\n\n\n" in text:
        text = _BLANK.sub("\n\n", text)
    return text.strip("\n").rstrip()


def _even_line(line: str) -> str:
    body = line.lstrip()
    indent = line[: len(line) - len(body)].expandtabs(4)
    return " " * len(indent) + _SPACES.sub(" ", body)
