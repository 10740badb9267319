"""What the trainings of a study left, with the spread over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arriero.records import Rating, UserError
from arriero.road.ablation.summary import paired

Json = dict[str, Any]
Scores = list[Json]

_BINS = 40


def read_results(folder: Path) -> Json:
    """results.json of a training."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def read_scores(folder: Path, test_set: str) -> Scores:
    """The scored pairs of a test set."""
    lines = (folder / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["set"] == test_set]


def accuracies(folder: Path, test_set: str) -> dict[str, float]:
    """Accuracy over all pairs and by rating.

    Raises:
        UserError: none of the test set's pairs fits into the context.
    """
    found = read_results(folder)["accuracy"].get(test_set)
    if found is None:
        raise UserError(f"none of the {test_set} test pairs fits into the context; raise it")
    return {name: figures["accuracy"] for name, figures in found.items()}


def over_seeds(values: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, Any]]:
    """Mean, least and most of each variant, and its paired difference from one of them."""
    return {
        name: {
            "seeds": list(own),
            "mean": statistics.fmean(own),
            "low": min(own),
            "high": max(own),
            f"minus_{reference}": paired(own, values[reference]),
        }
        for name, own in values.items()
    }


def by_variant(
    run: Path, names: Mapping[str, Sequence[str]], of: Callable[[Path], float]
) -> dict[str, list[float]]:
    """A figure of every training: a list over seeds for each variant."""
    return {name: [of(run / folder) for folder in folders] for name, folders in names.items()}


def rated(folders: Sequence[Path], test_set: str) -> list[str]:
    """`all` and the ratings that the pairs of a test set have, from the clearest."""
    found = accuracies(folders[0], test_set)
    return ["all", *(rating.value for rating in Rating if rating.value in found)]


def histograms(run: Path, names: Mapping[str, Sequence[str]], test_set: str) -> dict[str, Any]:
    """Scores of chosen and rejected answers over common edges, all seeds together (Figure 27).

    The ends hold the outermost hundredth of all scores too.
    """
    scores = {
        name: {
            side: [row[side] for folder in folders for row in read_scores(run / folder, test_set)]
            for side in ("chosen", "rejected")
        }
        for name, folders in names.items()
    }
    everything = [value for sides in scores.values() for side in sides.values() for value in side]
    low, high = (float(edge) for edge in np.quantile(everything, (0.005, 0.995)))
    edges = np.linspace(low, high if high > low else low + 1e-6, _BINS + 1)
    return {
        "edges": edges.tolist(),
        "variants": {
            name: {
                side: np.histogram(np.clip(values, low, edges[-1]), edges)[0].tolist()
                for side, values in sides.items()
            }
            for name, sides in scores.items()
        },
    }
