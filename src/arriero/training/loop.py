"""The one training loop: a generator that yields a report after every optimizer step.

The loss of a step is the summed loss of its micro-batches over the number of valid items of all of
them, on all ranks, so that neither accumulation nor world size changes it (a mean of means would).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from arriero.records import UserError
from arriero.training.guards import Guard, Verdict
from arriero.training.parallel import clip_gradients
from arriero.training.ranks import ALONE, Ranks

Batch = TypeVar("Batch")

_MOST_SKIPPED = 3


@dataclass(frozen=True, slots=True)
class StepReport:
    """What happened in one step.

    `loss` is per valid item (token or pair), `grad_norm` the norm before clipping, `num_items` the
    valid items, `seconds` the step's duration, `data_seconds` what of it was spent on getting the
    batches. Where `verdict` is not "ok" the weights were left as they were.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    num_items: int
    seconds: float
    data_seconds: float
    verdict: Verdict


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
    guard: Guard | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[StepReport]:
    """Train from step `start` (0 on a fresh run) up to `stop`, exclusive.

    Args:
        optimizer: holds the parameters.
        micro_batches: the batches of a step, a pure function of its number (exact resume); all
            ranks get the same sequence, and each takes only its own ones from it.
        loss_sum: summed, not averaged, loss of a batch.
        num_items: items of a batch that the sum runs over; a batch without any is not computed.
        learning_rate: rate of a step.
        clip: largest gradient norm.
        guard: says whether a step is fit to be taken; a new one if left out.
        ranks: who else works on the same steps.

    Raises:
        UserError: three steps in a row were not fit to be taken.
    """
    guard = guard or Guard(clip)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(start, stop):
        began = time.perf_counter()
        rate = learning_rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        of_all = micro_batches(step)
        own = [of_all[place] for place in range(ranks.dp_rank, len(of_all), ranks.dp_size)]
        counted = [(batch, num_items(batch)) for batch in own]
        data_seconds = time.perf_counter() - began
        total_items = int(ranks.sums([sum(count for _, count in counted)])[0])
        if ranks.mesh is not None:
            # Ranks compute together: who has fewer batches goes through one that counts nothing.
            most = -(-len(of_all) // ranks.dp_size)
            counted += [(of_all[0], 0)] * (most - len(counted))
        loss = 0.0
        optimizer.zero_grad(set_to_none=True)
        for batch, count in counted if total_items else ():
            if count:
                share = loss_sum(batch) / total_items
                share.backward()
                loss += float(share.detach())
            elif ranks.mesh is not None:
                (loss_sum(batch) * 0.0).backward()
        loss = ranks.sums([loss])[0]
        norm = clip_gradients(parameters, clip)
        verdict = guard.judge(loss, norm)
        if verdict == "ok" and total_items:
            optimizer.step()
        seconds = time.perf_counter() - began
        yield StepReport(step, loss, rate, norm, total_items, seconds, data_seconds, verdict)
        if guard.bad_in_a_row >= _MOST_SKIPPED:
            raise UserError(
                f"loss or gradient was not finite or jumped for {_MOST_SKIPPED} steps up to step "
                f"{step}; lower the learning rate (the last checkpoint is whole)"
            )
