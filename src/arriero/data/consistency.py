"""Reads tests of consistency: an instruction, ordinary turns, a question, and what to expect.

A row: `instruction`, `turns` (a list of user messages), `question`, and `expected` (a list of words
that the answer has to hold) or `sentences` (how many it has); `id`, `kind`, `value` and
`is_trained` (true) may stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arriero.data import files
from arriero.data.rows import Bad, Row, Skip, convert, read_rows, require
from arriero.records import ConsistencyTest


def read_consistency_tests(paths: Path | str | Sequence[Path | str]) -> Iterator[ConsistencyTest]:
    """Yield the tests of files.

    Raises:
        UserError: a path is missing or without tests, or a row is wrong (`file:line: ...`).
    """
    return require(files.given_paths(paths), _tests_of, "tests of consistency", None)


def _tests_of(file: Path) -> Iterator[ConsistencyTest | Bad | Skip]:
    return convert(read_rows(file), to_consistency_test)


def to_consistency_test(row: Row) -> Iterator[ConsistencyTest]:
    """Yield the test of one row.

    Raises:
        ValueError: a key is missing or of another type, or nothing is expected.
    """
    value = row.value
    if not isinstance(value, dict):
        raise ValueError("a test is an object with instruction, turns and question; mend the row")
    sentences = value.get("sentences", 0)
    if not isinstance(sentences, int) or isinstance(sentences, bool) or sentences < 0:
        raise ValueError("'sentences' should be a whole number; mend or remove the row")
    is_trained = value.get("is_trained", True)
    if not isinstance(is_trained, bool):
        raise ValueError("'is_trained' should be true or false; mend or remove the row")
    yield ConsistencyTest(
        id=_text(value, "id", str(row.line)),
        instruction=_text(value, "instruction"),
        turns=_texts(value, "turns"),
        question=_text(value, "question"),
        expected=_texts(value, "expected") if "expected" in value else (),
        sentences=sentences,
        kind=_text(value, "kind", ""),
        value=_text(value, "value", ""),
        is_trained=is_trained,
    )


def _text(value: dict[str, Any], key: str, default: str | None = None) -> str:
    found = value.get(key, default)
    if not isinstance(found, str):
        raise ValueError(f"{key!r} should be a string; mend or remove the row")
    return found


def _texts(value: dict[str, Any], key: str) -> tuple[str, ...]:
    found = value.get(key)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{key!r} should be a list of strings; mend or remove the row")
    return tuple(found)
