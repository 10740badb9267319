"""Reading a JSON body key by key: every type checked, nothing ignored in silence."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from arriero.serving.faults import ApiError

Body = dict[str, Any]

_SHOWN = 60


def parse_body(raw: bytes) -> Body:
    """The JSON object of a request.

    Raises:
        ApiError: 400, no UTF-8, no JSON, no object, or numbers and nesting past all measure.
    """

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")

    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=refuse_constant)
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise ApiError(400, f"the body should be a JSON object, not {kind(body)}")
    return body


def refuse_unknown(body: Body, known: Collection[str], where: str = "") -> None:
    """Raise ApiError for the first key that is not known, with the nearest one that is."""
    for key in body:
        if key not in known:
            near = difflib.get_close_matches(key[:100], known, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise ApiError(
                400,
                f"unknown key {shown(key)}{where}{hint}",
                param=key[:100],
                code="unknown_parameter",
            )


def refuse_unsupported(body: Body, neutral: Mapping[str, Callable[[Any], bool]]) -> None:
    """Raise ApiError for a key that asks for something that is not done here.

    Args:
        neutral: for each such key, which values ask for nothing; null never does.
    """
    for key, is_neutral in neutral.items():
        value = body.get(key)
        if value is not None and not is_neutral(value):
            raise ApiError(
                400,
                f"{key} {shown(value)} is not supported here: leave it out",
                param=key,
                code="unsupported_parameter",
            )


def integer(body: Body, key: str, default: int, low: int, high: int) -> int:
    """A whole number between `low` and `high`; null and a missing key give `default`."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        wrong_type(key, "an integer", value)
    if not low <= value <= high:
        out_of_range(key, value, low, high)
    return value


def number(body: Body, key: str, default: float, low: float, high: float) -> float:
    """A number between `low` and `high`."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool):
        wrong_type(key, "a number", value)
    if not low <= value <= high:
        out_of_range(key, value, low, high)
    return float(value)


def flag(body: Body, key: str, default: bool = False) -> bool:
    """True or false."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        wrong_type(key, "true or false", value)
    return value


def wrong_type(key: str, wanted: str, value: object) -> NoReturn:
    """Raise the error of a value of another type."""
    raise ApiError(400, f"{key} should be {wanted}, not {kind(value)}", param=key)


def out_of_range(key: str, value: object, low: float, high: float) -> NoReturn:
    """Raise the error of a number that is too small or too large."""
    raise ApiError(400, f"{key} {shown(value)} is not between {low} and {high}", param=key)


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {shown(value)}"
        case str():
            return f"the string {shown(value)}"
        case list():
            return "a list"
        case _:
            return "an object"


def shown(value: object) -> str:
    """A value as an error names it: as JSON, short."""
    if isinstance(value, list | dict):  # may be large and deep
        return "[...]" if isinstance(value, list) else "{...}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
