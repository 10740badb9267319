"""What the build says of each source in build.json: tokens, weights, identifiers, losses, problems.

An older or a poorer build may leave things out: then the report does too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arriero.corpus.reading import TOKENS, read_build


@dataclass(frozen=True)
class SourceRecord:
    """One source, as the build left it; None and empty where nothing was said.

    Attributes:
        license: as the recipe names it.
        tokens: of the documents that stayed, each once; None where none were made.
        target: share of the mix that the recipe asks for, in [0, 1].
        reached: share that the mix has.
        sampled: tokens that are read of it, characters where there are no tokens.
        epochs: how often its documents are read.
        identifiers: by kind of personal identifier, how many were found and in how many documents,
            as (documents, found).
        masked: by kind, the documents in which they were masked.
        removed: by rule, as (documents, characters), characters as they were read.
        withdrawn: documents that were taken out later.
        problems: input that was of no use or had to be mended, by reason.
    """

    license: str = ""
    tokens: int | None = None
    target: float | None = None
    reached: float | None = None
    sampled: int | None = None
    epochs: float | None = None
    identifiers: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    masked: Mapping[str, int] = field(default_factory=dict[str, int])
    removed: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    withdrawn: int = 0
    problems: Mapping[str, int] = field(default_factory=dict[str, int])


def read_record(corpus: Path) -> dict[str, SourceRecord]:
    """The sources of a built corpus, in the recipe's order.

    Raises:
        UserError: the corpus is not built.
    """
    built = read_build(corpus)
    has_tokens = _mapping(built.get("mix")).get("unit", "tokens") == "tokens"
    sources = _mapping(built.get("sources"))
    return {
        name: _source(_mapping(value), _tokens(corpus / TOKENS / name) if has_tokens else None)
        for name, value in sources.items()
    }


def _tokens(folder: Path) -> int | None:
    """As the shard says; a source without documents has none."""
    try:
        return int(json.loads((folder / "shard.json").read_text(encoding="utf-8"))["tokens"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _source(value: Mapping[str, Any], tokens: int | None) -> SourceRecord:
    mix = _mapping(value.get("mix"))
    problems: dict[str, int] = {}
    for problem in value.get("problems") or ():
        reason = str(problem["reason"])
        problems[reason] = problems.get(reason, 0) + int(problem["count"])
    return SourceRecord(
        license=str(value.get("license", "")),
        tokens=tokens,
        target=mix.get("weight"),
        reached=mix.get("share"),
        sampled=mix.get("sampled"),
        epochs=mix.get("epochs"),
        identifiers=_pairs(value.get("identifiers"), "found"),
        masked=dict(_mapping(value.get("masked"))),
        removed=_pairs(value.get("removed"), "characters"),
        withdrawn=int(value.get("withdrawn", 0)),
        problems=problems,
    )


def _pairs(value: Any, second: str) -> dict[str, tuple[int, int]]:
    """Numbers of documents, each with a second number."""
    return {key: (row["documents"], row[second]) for key, row in _mapping(value).items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
