"""Writes a small built corpus by the contract, without the build."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

Row = Mapping[str, Any]


def document(name: str, text: str, source: str = "web", **more: Any) -> dict[str, Any]:
    """A line of documents/ or, with `rule` and `detail`, of removed/."""
    row = {"id": name, "text": text, "source": source, "license": "CC0-1.0", "file": "a.jsonl"}
    return {**row, "place": 1, "url": "", "kept": []} | more


def build(
    corpus: Path,
    documents: Mapping[str, Sequence[Sequence[Row]]],
    removed: Mapping[str, Sequence[Row]] | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write a corpus folder.

    Args:
        documents: by source, its files, each a list of rows.
        removed: by source.
        facts: what build.json says of a source.
    """
    for source, files in documents.items():
        for number, rows in enumerate(files):
            write(corpus / "documents" / source / f"{number:05}.jsonl.zst", rows)
    for source, rows in (removed or {}).items():
        write(corpus / "removed" / source / "00000.jsonl.zst", rows)
    corpus.mkdir(exist_ok=True)
    sources = {source: dict((facts or {}).get(source, {})) for source in documents}
    build = {"sources": sources, "mix": {"unit": "tokens"}, "hash": "0123456789abcdef"}
    (corpus / "build.json").write_text(json.dumps(build))
    return corpus


def write(path: Path, rows: Sequence[Row]) -> None:
    """Rows as JSON lines under zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(zstandard.ZstdCompressor().compress(lines.encode()))
