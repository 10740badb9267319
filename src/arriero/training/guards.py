"""Is a step fit to be taken? Losses and gradient norms that are not finite, or that jump.

Departure: the paper says nothing of spikes; others skip the batch, which is what is done here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any, Literal

Verdict = Literal["ok", "not finite", "spike"]

_WINDOW = 128  # healthy steps that count as recent
_WARM_UP = 20  # of them before a jump can be told from a beginning
_SIGMAS = 10.0

# The least that counts as one sigma, so that a constant loss does not make a spike of rounding.
_LEAST_LOSS_SIGMA = 0.05  # nats an item: less than half a nat above the mean is no spike
_LEAST_NORM_SIGMA = 0.1  # of the mean: less than twice the mean is no spike


class Guard:
    """Judges steps one after another by what recent healthy ones looked like.

    A spike is a loss or a gradient norm more than 10 standard deviations above the mean of the
    last 128 healthy steps; nothing is a spike before there are 20 of them. Where gradients are
    clipped, a norm that jumps in step after step while the loss does not is where the weights are,
    no bad batch: the first such step is left out, those after it are taken. Given the same figures
    it judges the same, so ranks that share theirs agree without asking each other, and one that
    goes on from `state()` judges as if it had never stopped.

    Args:
        clip: norm that gradients are clipped to. What clipping leaves alone is no spike: batches
            that are still learnt from late in fine-tuning stand far above a mean near zero.

    Attributes:
        bad_in_a_row: how many of the last steps were not "ok".
    """

    def __init__(self, clip: float = 0.0) -> None:
        self.bad_in_a_row = 0
        self._clip = clip
        self._is_steep = False
        self._losses: list[float] = []
        self._norms: list[float] = []

    def judge(self, loss: float, grad_norm: float) -> Verdict:
        """What the step is, by its loss an item (nats) and its gradient norm before clipping."""
        verdict = self.verdict(loss, grad_norm)
        self.record(verdict, loss, grad_norm)
        return verdict

    def record(self, verdict: Verdict, loss: float, grad_norm: float) -> None:
        """Take a step for what it was judged to be; later ones are judged by the healthy ones."""
        self._is_steep = self._norm_alone_jumps(loss, grad_norm)
        if verdict != "ok":
            self.bad_in_a_row += 1
            return
        self.bad_in_a_row = 0
        if self._is_steep:
            # It counts for what would have passed, or nothing would stand out for long.
            grad_norm = min(grad_norm, self._norm_ceiling())
        self._losses = [*self._losses, loss][-_WINDOW:]
        self._norms = [*self._norms, grad_norm][-_WINDOW:]

    def state(self) -> dict[str, Any]:
        """All that later verdicts follow from, as JSON takes it."""
        return {
            "bad_in_a_row": self.bad_in_a_row,
            "losses": list(self._losses),
            "grad_norms": list(self._norms),
            "is_steep": self._is_steep,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave; an empty one is a fresh start."""
        self.bad_in_a_row = int(state.get("bad_in_a_row", 0))
        self._losses = [float(value) for value in state.get("losses", ())]
        self._norms = [float(value) for value in state.get("grad_norms", ())]
        self._is_steep = bool(state.get("is_steep", False))

    def verdict(self, loss: float, grad_norm: float) -> Verdict:
        """What `judge` would say, which stays without consequences."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return "not finite"
        if self._loss_jumps(loss):
            return "spike"
        if self._norm_alone_jumps(loss, grad_norm):
            return "ok" if self._clip and self._is_steep else "spike"
        return "ok"

    def _loss_jumps(self, loss: float) -> bool:
        if len(self._losses) < _WARM_UP:
            return False
        return not loss <= _ceiling(self._losses, _LEAST_LOSS_SIGMA)

    def _norm_alone_jumps(self, loss: float, grad_norm: float) -> bool:
        if len(self._norms) < _WARM_UP or self._loss_jumps(loss):
            return False
        return self._norm_ceiling() < grad_norm < math.inf

    def _norm_ceiling(self) -> float:
        """The highest norm that is still no spike."""
        ceiling = _ceiling(self._norms, _LEAST_NORM_SIGMA * fmean(self._norms))
        return max(self._clip, ceiling)


def _ceiling(recent: Sequence[float], least_sigma: float) -> float:
    """The highest value that is still no spike."""
    return fmean(recent) + _SIGMAS * max(pstdev(recent), least_sigma)
