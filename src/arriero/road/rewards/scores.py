"""`arriero score`: raw score and probability of every answer of a file, in the file's order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from arriero.data.scorable import Scorable, read_scorable
from arriero.equations.calibration import sigmoid
from arriero.evaluation.scorers import NOT_FINITE, TOO_LONG, AnswerScorer

# Enough to put like lengths together, few enough to hold.
_AT_ONCE = 512


def score_rows(
    scorer: AnswerScorer, path: Path | str, skipped: Counter[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a row of scores for each item of a file, in order.

    A dialog gives `score` and `probability`, a pair `chosen_score`, `chosen_probability` and the
    same of `rejected`, both after `file` and `line`. What cannot be scored (an empty answer, a
    dialog longer than the context, a score that is not finite) gives `skipped` with the reason
    instead.

    Args:
        skipped: counts, by reason, what is no item at all and so has no row.

    Raises:
        UserError: a row is wrong, named by file and line.
    """
    items = read_scorable(path, skipped=skipped)
    while some := list(islice(items, _AT_ONCE)):
        dialogs = [dialog for item in some for dialog in item.sides.values()]
        scores = iter(scorer.score(dialogs))
        for item in some:
            found = {name: next(scores) for name in item.sides}
            yield _row(item, found)


def _row(item: Scorable, scores: dict[str, float | None]) -> dict[str, Any]:
    row: dict[str, Any] = {"file": item.file, "line": item.line}
    if item.skipped or None in scores.values():
        return row | {"skipped": item.skipped or TOO_LONG}
    known = {name: score for name, score in scores.items() if score is not None}
    if not all(map(math.isfinite, known.values())):
        return row | {"skipped": NOT_FINITE}
    for name, score in known.items():
        before = "" if name == "answer" else f"{name}_"
        row |= {f"{before}score": score, f"{before}probability": sigmoid(score)}
    return row
