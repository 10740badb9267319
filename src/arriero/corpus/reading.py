"""Reads what a built corpus holds: its kept documents, its removed ones, and its counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from arriero.data.files import read_lines
from arriero.records import CorpusDocument, UserError

DOCUMENTS, REMOVED, TOKENS, BUILD = "documents", "removed", "tokens", "build.json"
ANALYSES, PAGE = "analyses.json", "report.html"
"""What `arriero corpus report` writes beside them; both hold texts, as examples."""

_KEYS = tuple(field.name for field in fields(CorpusDocument))


@dataclass(frozen=True, slots=True)
class RemovedDocument:
    """A document that did not stay.

    Attributes:
        rule: what removed it.
        detail: more of it, such as the id of the duplicate that stayed.
    """

    document: CorpusDocument
    rule: str
    detail: str


def kept_documents(corpus: Path, source: str | None = None) -> Iterator[CorpusDocument]:
    """Every document that stayed, source after source in the recipe's order.

    Args:
        corpus: a built corpus's folder.
        source: only this one.

    Raises:
        UserError: the corpus is not built, or has no such source.
    """
    for row in _rows(corpus, DOCUMENTS, source):
        yield _document(row)


def removed_documents(corpus: Path, source: str | None = None) -> Iterator[RemovedDocument]:
    """Every document that did not stay; order, arguments and errors as kept_documents."""
    for row in _rows(corpus, REMOVED, source):
        yield RemovedDocument(_document(row), row["rule"], row["detail"])


def source_names(corpus: Path) -> list[str]:
    """The sources in the recipe's order.

    Raises:
        UserError: the corpus is not built.
    """
    return list(read_build(corpus)["sources"])


def read_build(corpus: Path) -> dict[str, Any]:
    """build.json: counts per source and rule, weights asked and reached.

    Raises:
        UserError: the corpus is not built.
    """
    try:
        return json.loads((corpus / BUILD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"{corpus} is no built corpus ({BUILD} is missing or not whole); build it with "
            "`arriero corpus build`"
        ) from None


def _rows(corpus: Path, part: str, source: str | None) -> Iterator[dict[str, Any]]:
    names = source_names(corpus)
    if source is not None and source not in names:
        raise UserError(f"{corpus} has no source {source!r}; it has {', '.join(names)}")
    for name in names if source is None else [source]:
        for path in sorted((corpus / part / name).glob("*.jsonl.zst")):
            for _, line in read_lines(path):
                yield json.loads(line)


def _document(row: dict[str, Any]) -> CorpusDocument:
    return CorpusDocument(**{key: row[key] for key in _KEYS})
