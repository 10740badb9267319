"""Tables of a recipe that a command line gives as NAME=NUMBER."""

from __future__ import annotations

from typing import Any


def as_table(value: Any) -> Any:
    """A table out of the NAME=NUMBER of a command line; anything else as it is.

    Raises:
        ValueError: one of them is no NAME=NUMBER, or a name comes twice.
    """
    if not isinstance(value, list | tuple):
        return value
    for item in value:
        if not str(item).rpartition("=")[0]:
            raise ValueError(f"{item!r} is no NAME=NUMBER")
    pairs = dict(str(item).rsplit("=", 1) for item in value)
    if len(pairs) < len(value):
        raise ValueError(f"a name is given twice: {' '.join(map(str, value))}")
    return pairs
