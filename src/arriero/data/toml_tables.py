"""Configurations as TOML and back: every key, dotted keys from a command line, errors in a line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from arriero.records import UserError


def leaf_fields(
    model: type[BaseModel], prefix: str = ""
) -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key of a configuration as (dotted key, the model that holds it, its name there)."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaf_fields(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", model, name


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested tables.

    Raises:
        UserError: a part of the key names no table.
    """
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise UserError(f"key {table} of the recipe is a table of keys, not {values!r}")
    values[last] = value


def explain(error: ErrorDetails, source: str, unknown: str = "") -> str:
    """One line for a validation error: the key and what is wrong.

    Args:
        source: the file or recipe that it stands in.
        unknown: what to say instead of a key that is not known.
    """
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and unknown:
        return unknown
    message = error["msg"].removeprefix("Value error, ")
    where = f"key {key}: " if key else ""
    given = error.get("input")
    shown = f" (given {given!r})" if isinstance(given, str | int | float) else ""
    return f"{source}: {where}{message}{shown}"


def near_key(key: str, known: list[str]) -> str:
    """The known key that an unknown one probably means; "" if none looks like it."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    if not near:
        ends = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [ends[m] for m in difflib.get_close_matches(key.rsplit(".", 1)[-1], ends, n=1)]
    return near[0] if near else ""


def toml_text(values: Mapping[str, Any]) -> str:
    """Nested tables as TOML; what is None is left out."""
    return "".join(_table(values, ""))


def _table(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    # TOML has no word for nothing: a key without a value is left out, and is None again when read.
    plain = {k: v for k, v in values.items() if k not in tables and v is not None}
    if prefix and plain:
        yield f"\n[{prefix}]\n"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}\n"
    for key, value in tables.items():
        inner = cast(dict[str, Any], value)
        yield from _table(inner, f"{prefix}.{_key(key)}" if prefix else _key(key))


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    # TOML's strings, numbers, booleans and flat arrays are written as JSON's are.
    return json.dumps(value, ensure_ascii=False)
