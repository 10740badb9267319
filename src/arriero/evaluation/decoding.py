"""Decode speed of several models at one batch and context (A.2.1, Figure 24).

All sequences go on from one prompt, which the engine computes once and copies, so that filling a
large cache takes no time; each then draws tokens of its own, and nothing ends one early. The models
take turns, a window of steps each, so that a noisy neighbour hits all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from arriero.inference.engine import Engine
from arriero.inference.request import Sampling
from arriero.model.heads import LanguageModel
from arriero.records import UserError

_WINDOW_S = 0.15
_LEAST_STEPS, _MOST_STEPS, _WARM_STEPS = 2, 16, 3
_FIRST_ID = 3


def decode_rates(
    models: Mapping[str, LanguageModel], batch: int, context: int, repeats: int
) -> dict[str, list[float]]:
    """New tokens a second of each model: one figure a window of some steps, `repeats` windows.

    Args:
        batch: sequences that decode together.
        context: tokens that the cache holds for each; the sequences grow up to it.

    Raises:
        UserError: the context leaves no room for the windows.
    """
    num_new = _WARM_STEPS + repeats * _MOST_STEPS
    if context < 2 * num_new:
        raise UserError(
            f"a context of {context} tokens has no room for the {num_new} that are timed; "
            f"name contexts of {2 * num_new} or more"
        )
    engines = {name: _filled(model, batch, context, num_new) for name, model in models.items()}
    steps: dict[str, int] = {}
    for name, engine in engines.items():
        began = time.perf_counter()
        for _ in range(_WARM_STEPS - 1):
            engine.step()
        a_step = (time.perf_counter() - began) / (_WARM_STEPS - 1)
        steps[name] = min(max(int(_WINDOW_S / a_step), _LEAST_STEPS), _MOST_STEPS)
    rates: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats):
        for name, engine in engines.items():
            began = time.perf_counter()
            drawn = sum(len(engine.step()) for _ in range(steps[name]))
            rates[name].append(drawn / (time.perf_counter() - began))
    return rates


def _filled(model: LanguageModel, batch: int, context: int, num_new: int) -> Engine:
    """An engine with `batch` sequences that have drawn their first token."""
    engine = Engine(model, ends=(), max_rows=batch, num_slots=context)
    generator = torch.Generator().manual_seed(0)
    high = model.config.vocab_size
    prompt = torch.randint(_FIRST_ID, high, (context - num_new,), generator=generator)
    sampling = Sampling(max_new_tokens=num_new)
    for sample in range(batch):
        engine.submit(prompt.tolist(), sampling, seed=0, sample=sample)
    drawn = 0
    while drawn < batch:
        drawn += len(engine.step())
    return engine
