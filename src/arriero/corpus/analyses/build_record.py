"""What the build says of each source in build.json: tokens, weights, identifiers, bad input.

Read forgivingly: what is not there is left out of the report, never an error.

```
{"sources": {NAME: {"tokens": 1200, "weight": 0.5, "target": 0.4, "reached": 0.41, "epochs": 1.2,
                    "identifiers": {"email": 3, ...}, "bad": {"broken gzip": 1, ...}}}}
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arriero.corpus.reading import TOKENS, read_build


@dataclass(frozen=True)
class SourceRecord:
    """One source, as the build left it; None and empty where nothing was said.

    Attributes:
        tokens: of the documents that stayed, each once.
        target: share of the tokens that the recipe asks for, in [0, 1].
        reached: share of the tokens that the mix has.
        epochs: how often its documents are read.
        identifiers: how many of each kind of personal identifier were found.
        bad: input that was of no use, by reason.
    """

    tokens: int | None = None
    target: float | None = None
    reached: float | None = None
    epochs: float | None = None
    identifiers: Mapping[str, int] | None = None
    bad: Mapping[str, int] | None = None


def read_record(corpus: Path) -> dict[str, SourceRecord]:
    """The sources of a built corpus, in the recipe's order.

    Raises:
        UserError: the corpus is not built.
    """
    sources = read_build(corpus).get("sources")
    held = sources if isinstance(sources, dict) else {}
    return {name: _source(corpus, name, _mapping(value)) for name, value in held.items()}


def _source(corpus: Path, name: str, value: Mapping[str, Any]) -> SourceRecord:
    return SourceRecord(
        tokens=_tokens(corpus / TOKENS / name, value),
        target=_number(value, "target"),
        reached=_number(value, "reached"),
        epochs=_number(value, "epochs"),
        identifiers=_counts(value.get("identifiers")),
        bad=_counts(value.get("bad")),
    )


def _tokens(folder: Path, value: Mapping[str, Any]) -> int | None:
    """As the token folder says, or else build.json."""
    try:
        facts = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = value
    found = _number(_mapping(facts), "tokens")
    return None if found is None else int(found)


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
