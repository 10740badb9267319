"""Examples of what each rule removed, drawn by the hash of their ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.opening import files_of_part, rows_of
from arriero.corpus.analyses.sampling import drawn_number
from arriero.corpus.reading import REMOVED

EXAMPLES = 3
SHOWN_CHARACTERS = 400

Examples = dict[str, list[dict[str, str]]]
"""By rule: mappings with `id`, `source`, `where`, `detail` and the beginning of the `text`."""


def removed_examples(corpus: Path, seed: int = 0) -> Examples:
    """Up to three documents of each rule, the same whatever the order of the files.

    Raises:
        UserError: the corpus is not built, or a file is damaged.
    """
    least: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
    for source, path in files_of_part(corpus, REMOVED):
        for row in rows_of(path):
            kept = least.setdefault(str(row.get("rule", "")), [])
            kept.append((drawn_number(row["id"], seed), row["id"], _shown(source, row)))
            kept.sort(key=_order)
            del kept[EXAMPLES:]
    return {rule: [shown for _, _, shown in kept] for rule, kept in sorted(least.items())}


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
