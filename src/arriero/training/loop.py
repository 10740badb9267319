"""The one training loop: a generator that yields a report after every optimizer step.

The loss of a step is the summed loss of its micro-batches over the number of valid items of all of
them, so that accumulation does not change it (a mean of means would).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from arriero.records import UserError

Batch = TypeVar("Batch")

_MOST_SKIPPED = 3


@dataclass(frozen=True, slots=True)
class StepReport:
    """What happened in one step.

    `loss` is per valid item (token or pair), `grad_norm` the norm before clipping, `num_items` the
    valid items, `seconds` the step's duration. `skipped`: loss or gradient was not finite and the
    weights were left as they were.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    num_items: int
    seconds: float
    skipped: bool


def train(
    *,
    optimizer: torch.optim.Optimizer,
    micro_batches: Callable[[int], Sequence[Batch]],
    loss_sum: Callable[[Batch], Tensor],
    num_items: Callable[[Batch], int],
    learning_rate: Callable[[int], float],
    clip: float,
    start: int,
    stop: int,
) -> Iterator[StepReport]:
    """Train from step `start` (0 on a fresh run) up to `stop`, exclusive.

    Args:
        optimizer: holds the parameters.
        micro_batches: the batches of a step, a pure function of its number (exact resume).
        loss_sum: summed, not averaged, loss of a batch.
        num_items: items of a batch that the sum runs over; a batch without any is not computed.
        learning_rate: rate of a step.
        clip: largest gradient norm.

    Raises:
        UserError: three steps in a row were not finite.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    skipped_in_a_row = 0
    for step in range(start, stop):
        began = time.perf_counter()
        rate = learning_rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        counted = [(batch, num_items(batch)) for batch in micro_batches(step)]
        total_items = sum(count for _, count in counted)
        loss = 0.0
        optimizer.zero_grad(set_to_none=True)
        for batch, count in counted:
            if count:
                share = loss_sum(batch) / total_items
                share.backward()
                loss += float(share.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip))
        healthy = math.isfinite(loss) and math.isfinite(norm)
        if healthy and total_items:
            optimizer.step()
        skipped_in_a_row = 0 if healthy else skipped_in_a_row + 1
        seconds = time.perf_counter() - began
        yield StepReport(step, loss, rate, norm, total_items, seconds, not healthy)
        if skipped_in_a_row >= _MOST_SKIPPED:
            raise UserError(
                f"loss or gradient was not finite for {_MOST_SKIPPED} steps up to step {step}; "
                "lower the learning rate (the last checkpoint is whole)"
            )
