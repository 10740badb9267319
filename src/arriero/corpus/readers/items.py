"""What a reader yields: a text with its place, or what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """A text as it stands in a file; `place` is its line, record or piece, from 1."""

    text: str
    place: int | str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is of no use, by a reason that is counted; `place` as in Found, 0 for the whole file."""

    reason: str
    place: int | str = 0
    detail: str = ""


Item = Found | Problem


def printable(name: str) -> str:
    r"""A name in which bytes that are no UTF-8 are written as such, so that it can be written.

    >>> printable("caf\udce9.txt")
    'caf\\udce9.txt'
    """
    return name.encode("utf-8", "backslashreplace").decode()
