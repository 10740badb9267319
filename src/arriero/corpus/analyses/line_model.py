"""A classifier of lines that `arriero corpus train-toxicity` fits: weights of hashed n-grams.

The file is one line of JSON (format, version, shapes, SHA-256 of the weights, how it was made and
what it reached on held-out lines), a line break, and the weights as little-endian float32. Reading
it runs nothing that stands in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arriero.corpus.analyses.ngrams import BUCKET_BITS, CHARACTERS, WORDS, Grams, grams_of
from arriero.records import UserError

FORMAT, VERSION = "arriero-line-classifier", 1
_MAX_HEADER = 1 << 20
_AT_ONCE = 512


@dataclass(frozen=True)
class LineModel:
    """Logistic regression on n-grams.

    Attributes:
        weights: [2^18] float32, one a bucket.
        bias: of the logit.
        facts: what the file says of its making.
        name: of the file that it was read from.
    """

    weights: NDArray[np.float32]
    bias: float
    facts: Mapping[str, Any]
    name: str = ""

    @property
    def about(self) -> str:
        """What it reached on the lines that were held out."""
        try:
            held = self.facts["held_out"]
            return (
                f"accuracy {held['accuracy']:.1%} and AUC {held['auc']:.3f} on the "
                f"{held['lines']:,} lines held out of its training"
            )
        except (TypeError, KeyError, ValueError):
            return ""  # the file was written by other hands

    def score(self, lines: Sequence[str]) -> list[float]:
        """The probability of each line, in [0, 1]; what else is asked along does not matter."""
        return [
            float(value)
            for start in range(0, len(lines), _AT_ONCE)
            for value in sigmoid(self.logits(grams_of(lines[start : start + _AT_ONCE])))
        ]

    def logits(self, grams: Grams) -> NDArray[np.float64]:
        """[L] bias + sum of the weights of a line's n-grams / sqrt(their number)."""
        sums = np.bincount(grams.lines, self.weights[grams.buckets], grams.num_lines)
        return self.bias + sums / np.sqrt(np.maximum(1, grams.sizes()))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


def write_line_model(path: Path, model: LineModel) -> None:
    """Write the file whole or not at all; the same model gives the same bytes.

    Raises:
        UserError: it cannot be written there.
    """
    raw = model.weights.astype("<f4").tobytes()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "bits": BUCKET_BITS,
        "characters": list(CHARACTERS),
        "words": list(WORDS),
        "bias": model.bias,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "facts": dict(model.facts),
    }
    line = json.dumps(header, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(line + raw)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def is_line_model(path: Path) -> bool:
    """Whether a file says of itself that it is one."""
    try:
        with path.open("rb") as file:
            return FORMAT.encode() in file.readline(_MAX_HEADER)
    except OSError:
        return False


def read_line_model(path: Path) -> LineModel:
    """The classifier of a file.

    Raises:
        UserError: it is missing, of another kind or version, or not as it was written.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_HEADER)
            raw = file.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a classifier") from None
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(
            f"{path}: no classifier; name a file of `arriero corpus train-toxicity`, or the folder "
            "of a Hugging Face sequence classifier"
        )
    if header.get("version") != VERSION:
        raise UserError(f"{path}: version {header.get('version')!r}; this reads version {VERSION}")
    shape = (header.get("bits"), header.get("characters"), header.get("words"))
    if shape != (BUCKET_BITS, list(CHARACTERS), list(WORDS)):
        raise UserError(f"{path}: other n-grams than this version's; train it again")
    if hashlib.sha256(raw).hexdigest() != header.get("sha256"):
        raise UserError(f"{path}: damaged, its weights have another hash; copy or train it again")
    weights = np.frombuffer(raw, "<f4").astype(np.float32)
    bias, facts = header.get("bias"), header.get("facts")
    is_whole = len(weights) == 1 << BUCKET_BITS and bool(np.isfinite(weights).all())
    if not is_whole or not isinstance(bias, float) or not math.isfinite(bias):
        raise UserError(f"{path}: its weights are no numbers of the right shape; train it again")
    return LineModel(weights, bias, facts if isinstance(facts, dict) else {}, path.name)
