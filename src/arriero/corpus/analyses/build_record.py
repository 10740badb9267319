"""What the build says of each source in build.json: tokens, weights, identifiers, bad input.

Read forgivingly: what is not there is left out of the report, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arriero.corpus.reading import read_build


@dataclass(frozen=True)
class SourceRecord:
    """One source, as the build left it; None and empty where nothing was said.

    Attributes:
        license: as the recipe says it.
        kept: documents that stayed.
        tokens: of the documents that stayed, each once.
        target: share of the mix that the recipe asks for, in [0, 1].
        reached: share that the mix has.
        epochs: how often its documents are read.
        withdrawn: documents that somebody took out.
        removed: documents and characters by rule.
        changed: documents that a rule changed and did not remove.
        identifiers: how many of each kind of personal identifier were found, and in how many
            documents.
        masked: in how many documents a kind was masked.
        bad: input that was of no use, by reason.
    """

    license: str = ""
    kept: int | None = None
    tokens: int | None = None
    target: float | None = None
    reached: float | None = None
    epochs: float | None = None
    withdrawn: int = 0
    removed: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    changed: Mapping[str, int] = field(default_factory=dict[str, int])
    identifiers: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict[str, Mapping[str, int]]
    )
    masked: Mapping[str, int] = field(default_factory=dict[str, int])
    bad: Mapping[str, int] = field(default_factory=dict[str, int])


def read_record(corpus: Path) -> dict[str, SourceRecord]:
    """The sources of a built corpus, in the recipe's order.

    Raises:
        UserError: the corpus is not built.
    """
    build = read_build(corpus)
    has_tokens = _mapping(build.get("mix")).get("unit") == "tokens"
    return {
        name: _source(_mapping(value), has_tokens)
        for name, value in _mapping(build.get("sources")).items()
    }


def _source(value: Mapping[str, Any], has_tokens: bool) -> SourceRecord:
    mix = _mapping(value.get("mix"))
    tokens = _number(value, "tokens")
    kept = _number(_mapping(value.get("kept")), "documents")
    return SourceRecord(
        license=str(value.get("license") or ""),
        kept=None if kept is None else int(kept),
        tokens=int(tokens) if has_tokens and tokens is not None else None,
        target=_number(mix, "weight"),
        reached=_number(mix, "share"),
        epochs=_number(mix, "epochs"),
        withdrawn=int(_number(value, "withdrawn") or 0),
        removed={rule: _counts(each) for rule, each in _mapping(value.get("removed")).items()},
        changed=_counts(value.get("changed")),
        identifiers={
            kind: _counts(each) for kind, each in _mapping(value.get("identifiers")).items()
        },
        masked=_counts(value.get("masked")),
        bad=_bad(value.get("problems")),
    )


def _bad(problems: Any) -> dict[str, int]:
    """By reason; build.json has them by file too."""
    found: dict[str, int] = {}
    for problem in problems if isinstance(problems, list) else ():
        row = _mapping(problem)
        reason = str(row.get("reason", ""))
        found[reason] = found.get(reason, 0) + int(_number(row, "count") or 0)
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _counts(value: Any) -> dict[str, int]:
    return {
        str(key): int(number)
        for key, number in _mapping(value).items()
        if isinstance(number, (int, float)) and not isinstance(number, bool)
    }


def _number(value: Mapping[str, Any], key: str) -> float | None:
    found = value.get(key)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None
