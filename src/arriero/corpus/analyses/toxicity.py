"""Toxicity of the English documents, measured and never filtered (section 4.1, Figure 13).

A sample of the documents, drawn by the hash of their ids. Each line is scored by a classifier; a
document's score is the mean of its lines'.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from arriero.corpus.analyses.counts import Counts, share

RATE = 0.1
"""The paper's sample: 10% of the documents."""
TOXIC = 0.5
BINS = 20
LONGEST_LINE = 1_000
"""Characters; a longer line is scored in pieces, each as a line."""

_NAME = "toxicity"
# Sums of whole numbers do not depend on the order; a millionth is more than a classifier knows.
_PARTS = 1_000_000


class LineScorer(Protocol):
    """Gives lines a probability of being toxic."""

    @property
    def name(self) -> str:
        """What it is, for the page."""
        ...

    @property
    def about(self) -> str:
        """What is known of how good it is; "" if nothing is."""
        ...

    def score(self, lines: Sequence[str]) -> list[float]:
        """One number in [0, 1] a line; what is no such number counts as no answer."""
        ...


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text that are not blank, none longer than 1,000 characters.

    >>> [len(line) for line in lines_of("one\\n\\n" + "x" * 1_500)]
    [3, 1000, 500]
    """
    for line in text.splitlines():
        for start in range(0, len(line), LONGEST_LINE):
            if (piece := line[start : start + LONGEST_LINE]) and not piece.isspace():
                yield piece


def count_toxicity(scores: Sequence[float]) -> Counts:
    """What one sampled document counts as, by the scores of its lines.

    Lines without a number in [0, 1] are counted and left out of the mean; a document with none
    else, or with no line, has no score.
    """
    usable = [score for score in scores if 0 <= score <= 1]  # false for NaN
    counts: Counts = Counter()
    counts[(_NAME, "lines")] = len(usable)
    counts[(_NAME, "lines without a number")] = len(scores) - len(usable)
    if not usable:
        counts[(_NAME, "documents without a score")] = 1
        return counts
    score = math.fsum(usable) / len(usable)
    counts[(_NAME, "documents")] = 1
    counts[(_NAME, "bin", str(min(BINS - 1, int(score * BINS))))] = 1
    counts[(_NAME, "millionths")] = round(score * _PARTS)
    counts[(_NAME, "toxic")] = int(score >= TOXIC)
    return counts


def toxicity_figures(counts: Counts) -> dict[str, Any]:
    """Figure 13: a histogram of the documents' scores, and the share at 0.5 or above."""
    number = {
        name: counts[(_NAME, name)]
        for name in ("documents", "documents without a score", "lines", "lines without a number")
    }
    documents = number["documents"]
    return {
        **{name.replace(" ", "_"): value for name, value in number.items()},
        "toxic": counts[(_NAME, "toxic")],
        "share": share(counts[(_NAME, "toxic")], documents),
        "mean": share(counts[(_NAME, "millionths")], documents * _PARTS),
        "edges": [place / BINS for place in range(BINS + 1)],
        "histogram": [counts[(_NAME, "bin", str(place))] for place in range(BINS)],
    }
