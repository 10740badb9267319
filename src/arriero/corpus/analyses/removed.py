"""What each rule removed: how much, and a few examples drawn by the hash of their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.counts import Counts
from arriero.corpus.analyses.opening import files_of_part, rows_of
from arriero.corpus.analyses.sampling import drawn_number
from arriero.corpus.reading import REMOVED

EXAMPLES = 3
SHOWN_CHARACTERS = 400


@dataclass
class Removal:
    """Sums by source, under ("documents", rule) and ("characters", rule), and examples by rule."""

    by_source: dict[str, Counts] = field(default_factory=dict[str, Counts])
    examples: dict[str, list[dict[str, str]]] = field(
        default_factory=dict[str, list[dict[str, str]]]
    )


def read_removed(corpus: Path, seed: int = 0) -> Removal:
    """Count all that was removed, in one pass.

    Raises:
        UserError: the corpus is not built, or a file is damaged.
    """
    removal = Removal()
    least: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
    for source, path in files_of_part(corpus, REMOVED):
        counts = removal.by_source.setdefault(source, Counter())
        for row in rows_of(path):
            rule = str(row.get("rule", ""))
            counts[("documents", rule)] += 1
            counts[("characters", rule)] += len(row["text"])
            drawn = (drawn_number(row["id"], seed), row["id"], _shown(source, row))
            kept = least.setdefault(rule, [])
            kept.append(drawn)
            kept.sort(key=_order)
            del kept[EXAMPLES:]
    for rule, kept in sorted(least.items()):
        removal.examples[rule] = [shown for _, _, shown in kept]
    return removal


def _order(drawn: tuple[int, str, dict[str, str]]) -> tuple[int, str]:
    return drawn[:2]


def _shown(source: str, row: Mapping[str, Any]) -> dict[str, str]:
    text = row["text"]
    cut = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
    where = f"{row.get('file', '')}:{row.get('place', '')}"
    return {
        "id": row["id"],
        "source": source,
        "where": where,
        "detail": str(row.get("detail", "")),
        "text": cut,
    }
