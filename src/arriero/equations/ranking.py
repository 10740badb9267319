"""The two losses of a reward model: ranking with a margin, and the safety label (section 3.2.2).

The values of the margins are those of appendix A.3.3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from arriero.equations.masked import at_least_float32, select
from arriero.records import Rating


def _margins(*values: float) -> dict[Rating | None, float]:
    return {**dict(zip(Rating, values, strict=True)), None: 0.0}


MARGINS: Mapping[str, Mapping[Rating | None, float]] = {
    "none": _margins(0.0, 0.0, 0.0, 0.0),
    "small": _margins(1.0, 2 / 3, 1 / 3, 0.0),
    "large": _margins(3.0, 2.0, 1.0, 0.0),
}
"""m(rating) of Eq. 2, by size and rating; a pair without a rating has the margin 0."""


def ranking_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """-ln sigmoid(r(x, y_c) - r(x, y_r) - m(rating)) of each pair (Eq. 2; Eq. 1 with m = 0).

    Args:
        chosen: [B] raw scores of the preferred responses.
        rejected: [B] raw scores of the others.
        margin: [B], from `MARGINS`.

    Returns:
        [B], nats, at least float32; finite for any finite scores.

    Worked example: scores 2 and 1 with the margin 1: ln 2 = 0.6931; with 0: 0.3133.
    """
    return -F.logsigmoid(at_least_float32(chosen) - at_least_float32(rejected) - margin)


def safety_loss(score: Tensor, is_safe: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(score) against the safety label (A.3.3).

    The safety reward model adds it to the ranking loss, for chosen and rejected responses alike.

    Args:
        score: [B] raw scores.
        is_safe: [B] bool (or 0 and 1); anything where the label is unknown.
        known: [B] bool; False where a response has no label, and the loss is then 0.

    Returns:
        [B], nats, at least float32.

    Worked example: score 0 costs ln 2 either way; score 2 and safe costs 0.1269.
    """
    raw = select(score, known)
    losses = F.binary_cross_entropy_with_logits(
        raw, select(is_safe, known).to(raw.dtype), reduction="none"
    )
    return select(losses, known)


def pair_accuracy(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Share of pairs whose chosen response scores higher (Tables 7 and 8); a tie counts one half.

    Args:
        chosen: [B] raw scores.
        rejected: [B] raw scores.

    Returns:
        Scalar in [0, 1]; 0 for no pairs.
    """
    right = (chosen > rejected).float() + 0.5 * (chosen == rejected).float()
    return right.sum() / max(right.numel(), 1)
