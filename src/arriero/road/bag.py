"""`arriero bag`: what is in the bag of samples of a run, a part at a time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from arriero.alignment.bag import Samples, bags_in, samples_in


@dataclass(frozen=True)
class Query:
    """Which samples are asked for; what is empty asks for all.

    Attributes:
        version: such as `v2`.
        prompt: a prompt's id.
        category: of a prompt; `a` takes `a/b` too.
    """

    version: str = ""
    prompt: str = ""
    category: str = ""

    def takes(self, row: Samples) -> bool:
        """Whether samples of a prompt are among them."""
        return (
            self.version in ("", row.origin.version)
            and self.prompt in ("", row.prompt.id)
            and (self.category or row.prompt.category) in _groups(row.prompt.category)
        )


@dataclass
class Count:
    """Samples of a version, or of one category of it.

    Attributes:
        best: sum of each prompt's best score, over the `scored` prompts that have one.
        largest: the best score of all.
    """

    prompts: int = 0
    samples: int = 0
    ended: int = 0
    finite: int = 0
    total: float = 0.0
    scored: int = 0
    best: float = 0.0
    largest: float = -math.inf

    def add(self, row: Samples) -> None:
        """Count the samples of a prompt."""
        scores = [score for score in row.scores if math.isfinite(score)]
        self.prompts += 1
        self.samples += len(row.answers)
        self.ended += sum(row.ended)
        self.finite += len(scores)
        self.total += sum(scores)
        if scores:
            self.scored += 1
            self.best += max(scores)
            self.largest = max(self.largest, max(scores))

    def as_row(self) -> dict[str, Any]:
        """Numbers, shares and mean scores; None where there is nothing to divide by."""
        return {
            "prompts": self.prompts,
            "samples": self.samples,
            "ended": self.ended / self.samples if self.samples else None,
            "not_finite": self.samples - self.finite,
            "mean": self.total / self.finite if self.finite else None,
            "mean_of_best": self.best / self.scored if self.scored else None,
            "largest": self.largest if self.scored else None,
        }


@dataclass
class _Version:
    """What is known of a version, and its counts: of all, and by category."""

    origin: dict[str, Any]
    all: Count = field(default_factory=Count)
    categories: dict[str, Count] = field(default_factory=dict)


def bag_counts(folder: Path, query: Query) -> list[dict[str, Any]]:
    """A row a version, with its origin, its counts, and those of its categories by name.

    Args:
        folder: a run, or a stage of rejection sampling.

    Raises:
        UserError: there is no bag, or a part of it is damaged.
    """
    found: dict[str, _Version] = {}
    for row in _rows(folder, query):
        version = found.setdefault(row.origin.version, _Version(asdict(row.origin)))
        version.all.add(row)
        version.categories.setdefault(row.prompt.category, Count()).add(row)
    return [
        one.origin
        | one.all.as_row()
        | {"categories": {name: one.categories[name].as_row() for name in sorted(one.categories)}}
        for one in found.values()
    ]


def bag_samples(folder: Path, query: Query, best: int = 0) -> Iterator[dict[str, Any]]:
    """A row a sample: of each prompt the best first, or the `best` of all.

    Scores of two versions are those of two reward models, and do not compare: the best are so many
    of each version.

    Args:
        folder: as bag_counts.
        best: how many of each version; 0 gives all, as they lie in the bag.

    Raises:
        UserError: as bag_counts.
    """
    if not best:
        for row in _rows(folder, query):
            yield from sorted(_samples(row), key=_rank, reverse=True)
        return
    kept: dict[str, list[tuple[float, int, dict[str, Any]]]] = {}
    for number, row in enumerate(_rows(folder, query)):
        heap = kept.setdefault(row.origin.version, [])
        for place, one in enumerate(_samples(row)):
            # Numbers fall, so that of two of the same score the earlier one stays.
            entry = (_rank(one), -(number * len(row.answers) + place), one)
            if len(heap) < best:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    for heap in kept.values():
        yield from (one for _, _, one in sorted(heap, key=lambda entry: entry[:2], reverse=True))


def _groups(category: str) -> list[str]:
    """A category and those that hold it: `a/b` and `a`."""
    parts = category.split("/")
    return ["/".join(parts[:num]) for num in range(1, len(parts) + 1)]


def _rows(folder: Path, query: Query) -> Iterator[Samples]:
    for stage in bags_in(folder):
        yield from (row for row in samples_in(stage) if query.takes(row))


def _samples(row: Samples) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": row.prompt.id,
            "prompt": row.prompt.messages[-1].content,
            "category": row.prompt.category,
            "version": row.origin.version,
            "temperature": row.origin.temperature,
            "answer": answer,
            "ended": ended,
            "score": _finite(score),
            "helpfulness": _finite(helpfulness),
            "safety": _finite(safety),
        }
        for answer, ended, score, helpfulness, safety in zip(
            row.answers, row.ended, row.scores, row.helpfulness, row.safety, strict=True
        )
    ]


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _rank(sample: dict[str, Any]) -> float:
    return -math.inf if sample["score"] is None else sample["score"]
