"""Fits a classifier of lines: logistic regression by AdaGrad, the same bits for the same lines.

A share of the lines is held out, drawn by the hash of their text, so that a line that stands twice
is on one side alone. What the classifier reaches on them is written into its file.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arriero.corpus.analyses.line_model import LineModel, sigmoid
from arriero.corpus.analyses.ngrams import BUCKET_BITS, grams_of, normalised
from arriero.corpus.analyses.sampling import is_drawn
from arriero.data.rows import Row, Skip, convert, read_rows, require
from arriero.equations.calibration import expected_calibration_error, reliability_bins
from arriero.equations.detection import roc_auc
from arriero.equations.intervals import wilson_interval
from arriero.records import UserError

LABEL_KEYS = ("label", "toxic", "is_toxic")
LEAST_OF_A_LABEL = 10


@dataclass(frozen=True, slots=True)
class LabelledLine:
    """A line and whether it is toxic."""

    text: str
    is_toxic: bool


@dataclass(frozen=True)
class Fitting:
    """How the classifier is fitted.

    Attributes:
        held_out: share of the lines that only measure.
        epochs: times that every other line is seen.
        rate: of AdaGrad.
        batch: lines a step.
        seed: of the order and of what is held out.
    """

    held_out: float = 0.2
    epochs: int = 8
    rate: float = 0.5
    batch: int = 64
    seed: int = 0


def read_labelled(paths: Sequence[Path], skipped: Counter[str]) -> list[LabelledLine]:
    """Rows with `text` and a label (0 or 1, true or false; a share counts as toxic from 0.5 on).

    The label stands under `label`, `toxic` or `is_toxic`. A text that stands twice counts once,
    one that has both labels is left out; `skipped` counts them by reason.

    Raises:
        UserError: a file is missing, a row is of another form, or there are too few of a label.
    """
    first: dict[str, LabelledLine] = {}
    unclear: set[str] = set()
    for line in require(list(paths), _labelled, "labelled lines", skipped):
        key = normalised(line.text)
        known = first.setdefault(key, line)
        if known is not line:
            skipped["text that stood before"] += 1
            if known.is_toxic != line.is_toxic:
                unclear.add(key)
    skipped["text with both labels"] += len(unclear)
    lines = [line for key, line in first.items() if key not in unclear]
    for is_toxic, word in ((True, "toxic"), (False, "not toxic")):
        number = sum(line.is_toxic == is_toxic for line in lines)
        if number < LEAST_OF_A_LABEL:
            raise UserError(
                f"{paths[0]}: {number} distinct lines are {word}; a classifier needs "
                f"{LEAST_OF_A_LABEL} or more of either label"
            )
    return lines


def _labelled(path: Path) -> Iterator[Any]:
    return convert(read_rows(path), _to_line)


def _to_line(row: Row) -> Iterator[LabelledLine | Skip]:
    value = row.value
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise ValueError("no `text`; a row is {'text': ..., 'label': 0 or 1}")
    key = next((key for key in LABEL_KEYS if key in value), None)
    label = value.get(key) if key else None
    if not isinstance(label, (bool, int, float)) or not 0 <= label <= 1:
        raise ValueError(f"label {label!r}; it should be 0 or 1, under {' or '.join(LABEL_KEYS)}")
    yield LabelledLine(value["text"], label >= 0.5) if value["text"].strip() else Skip("empty text")


def fit_lines(lines: Sequence[LabelledLine], fitting: Fitting) -> LineModel:
    """The classifier of all lines that are not held out, with its figures on those that are.

    Raises:
        UserError: one side of the split has lines of one label alone.
    """
    # By text: the order in which lines were given plays no part.
    ordered = sorted(lines, key=lambda line: normalised(line.text))
    held = [line for line in ordered if _is_held_out(line, fitting)]
    kept = [line for line in ordered if not _is_held_out(line, fitting)]
    for side, name in ((held, "held out"), (kept, "left to learn from")):
        if len({line.is_toxic for line in side}) < 2:
            raise UserError(
                f"of the {len(side)} lines {name} none has one of the labels; give more"
            )
    model = _fit(kept, fitting)
    facts = {
        "lines": len(kept),
        "toxic": sum(line.is_toxic for line in kept),
        "data_sha256": _digest(ordered),
        "fitting": vars(fitting),
        "held_out": evaluate_lines(model, held),
    }
    return LineModel(model.weights, model.bias, facts)


def evaluate_lines(model: LineModel, lines: Sequence[LabelledLine]) -> dict[str, Any]:
    """Accuracy with its 95% interval, area under the ROC curve, and calibration."""
    scores = model.score([line.text for line in lines])
    labels = [line.is_toxic for line in lines]
    right = sum((score >= 0.5) == label for score, label in zip(scores, labels, strict=True))
    bins = reliability_bins(scores, [float(label) for label in labels])
    return {
        "lines": len(lines),
        "toxic": sum(labels),
        "accuracy": right / len(lines),
        "accuracy_interval": list(wilson_interval(right, len(lines))),
        "auc": roc_auc(scores, labels),
        "calibration_error": expected_calibration_error(bins),
        "calibration": [each._asdict() for each in bins],
    }


def _is_held_out(line: LabelledLine, fitting: Fitting) -> bool:
    return is_drawn(normalised(line.text), fitting.held_out, f"held out {fitting.seed}")


def _fit(lines: Sequence[LabelledLine], fitting: Fitting) -> LineModel:
    weights = np.zeros(1 << BUCKET_BITS, np.float64)
    squares = np.full(1 << BUCKET_BITS, 1e-8)
    labels = np.asarray([line.is_toxic for line in lines], np.float64)
    bias = math.log(labels.mean() / (1 - labels.mean()))
    for epoch in range(fitting.epochs):
        order = np.random.default_rng((fitting.seed, epoch)).permutation(len(lines))
        for start in range(0, len(lines), fitting.batch):
            rows = order[start : start + fitting.batch]
            grams = grams_of([lines[row].text for row in rows])
            norm = 1 / np.sqrt(np.maximum(1, grams.sizes()))
            sums = np.bincount(grams.lines, weights[grams.buckets], grams.num_lines)
            error = (sigmoid(bias + sums * norm) - labels[rows]) / len(rows)
            touched, place = np.unique(grams.buckets, return_inverse=True)
            gradient = np.bincount(place, (error * norm)[grams.lines])
            squares[touched] += gradient * gradient
            weights[touched] -= fitting.rate * gradient / np.sqrt(squares[touched])
    return LineModel(weights.astype(np.float32), bias, {})


def _digest(lines: Sequence[LabelledLine]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{int(line.is_toxic)}{normalised(line.text)}\n".encode(errors="replace"))
    return digest.hexdigest()
