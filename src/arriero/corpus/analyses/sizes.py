"""How long documents are and how well they compress: repetition and rubbish show in both."""

from __future__ import annotations

from collections import Counter
from typing import Any

import zstandard

from arriero.corpus.analyses.counts import Counts, share

LEVEL = 3


def count_sizes(text: str, compressor: zstandard.ZstdCompressor) -> Counts:
    """Documents, characters, bytes, lines, compressed bytes, and a length class of one document.

    The class is the number of binary digits of its characters: 11 for 1,024 to 2,047. Each document
    is compressed by itself, so the sum does not depend on its neighbours.
    """
    raw = text.encode("utf-8", "surrogatepass")
    return Counter(
        {
            ("documents",): 1,
            ("characters",): len(text),
            ("bytes",): len(raw),
            ("lines",): text.count("\n") + 1,
            ("compressed",): len(compressor.compress(raw)),
            ("length", str(len(text).bit_length())): 1,
        }
    )


def compressor() -> zstandard.ZstdCompressor:
    """zstd at level 3, without a checksum."""
    return zstandard.ZstdCompressor(level=LEVEL)


def size_figures(counts: Counts, tokens: int | None) -> dict[str, Any]:
    """Sums and means; `tokens` are those of the same documents, None where none were made."""
    documents = counts[("documents",)]
    lengths = {int(key[1]): number for key, number in counts.items() if key[0] == "length"}
    return {
        "documents": documents,
        "characters": counts[("characters",)],
        "bytes": counts[("bytes",)],
        "lines": counts[("lines",)],
        "tokens": tokens,
        "characters_per_document": share(counts[("characters",)], documents),
        "tokens_per_document": None if tokens is None else share(tokens, documents),
        "bytes_per_token": None if not tokens else counts[("bytes",)] / tokens,
        "compression": share(counts[("bytes",)], counts[("compressed",)]),
        "lengths": [lengths.get(digits, 0) for digits in range(max(lengths, default=-1) + 1)],
    }
