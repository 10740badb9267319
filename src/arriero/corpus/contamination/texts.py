"""The text of a row, whatever its keys: what of an evaluation sample, or of a corpus, is compared.

Unless fields are named, that is `text` or `content`; or the messages of a dialog; or else all
strings and lists under names that questions, options and answers go by, in capitals or not, in the
row's own order, a line break between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arriero.data.formats import TEXT_KEYS

_MESSAGES = ("messages", "conversations")
_SAID = ("content", "value", "text")
_KNOWN = frozenset(
    "context passage premise hypothesis sentence ctx instruction input prompt question query goal "
    "problem body choices options endings sol1 sol2 completion response answer output solution "
    "canonical_solution reference target".split()
)


def text_of_row(value: Any, fields: Sequence[str] = (), option: str = "--fields") -> str:
    """The text of one row; "" where its fields are there and empty.

    Args:
        value: a JSON value.
        fields: keys of a row, in this order; none to find them.
        option: how a user names them.

    Raises:
        ValueError: the row has not the fields, or none that is known.

    >>> text_of_row({"question": "2 + 2?", "choices": ["3", "4"], "answer": 1})
    '2 + 2?\\n3\\n4'
    """
    if isinstance(value, str) and not fields:
        return value
    if not isinstance(value, Mapping):
        raise ValueError("no object with fields; mend or remove the row")
    if fields:
        if missing := [name for name in fields if name not in value]:
            raise ValueError(f"no field {missing[0]!r}; it has {_names(value)}")
        return _joined(value[name] for name in fields)
    for name in (*TEXT_KEYS, *_MESSAGES):
        if name in value:
            return _flat(value[name])
    known = [name for name in value if _is_name_of_text(name) and not _is_number(value[name])]
    if not known:
        raise ValueError(
            f"no field that holds text by its name; name those that do with {option}; it has "
            f"{_names(value)}"
        )
    return _joined(value[name] for name in known)


def is_known(name: str) -> bool:
    """Whether a field of this name is taken for text."""
    return name in TEXT_KEYS or _is_name_of_text(name)


def _is_name_of_text(name: str) -> bool:
    return name.lower() in _KNOWN


def _flat(value: Any) -> str:
    """All text in a value: of messages what is said."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        said = next((value[name] for name in _SAID if isinstance(value.get(name), str)), None)
        return said if said is not None else _joined(value.values())
    if isinstance(value, (list, tuple)):
        return _joined(value)
    return str(value)


def _joined(values: Any) -> str:
    return "\n".join(text for value in values if (text := _flat(value)))


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def _names(value: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, value)) or "none"
