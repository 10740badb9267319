"""Many prompts continued at once: what the training stages sample with.

Token in, token out. Each sample has random numbers of its own, a function of the seed, the prompt's
key and the sample's number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from arriero.inference.engine import Engine
from arriero.inference.request import Completion, Drawn, Sampling
from arriero.model.heads import LanguageModel
from arriero.records import UserError

__all__ = ["Completion", "Interrupted", "Sampling", "generate"]


class Interrupted(Exception):  # noqa: N818 - a wish, no error
    """Whoever waits for the samples does not want them any more."""


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int,
    ends: Sequence[int],
    keys: Sequence[int] | None = None,
    num_samples: int = 1,
    max_rows: int = 256,
    is_unwanted: Callable[[], bool] | None = None,
) -> list[list[Completion]]:
    """Sample `num_samples` continuations of each prompt.

    Args:
        prompts: token ids, none empty.
        ends: ids that end an answer.
        keys: a number for each prompt that, with `seed` and the sample's number, fixes its
            randomness; its index if left out.
        max_rows: sequences decoded at once.
        is_unwanted: asked before each step whether to give up.

    Returns:
        For each prompt its completions, in the order asked for.

    Raises:
        UserError: a prompt leaves no room in the model's context.
        Interrupted: the samples are unwanted.
    """
    if not prompts:
        return []
    longest = max(len(prompt) for prompt in prompts)
    if longest >= model.config.context:
        raise UserError(
            f"a prompt has {longest} tokens, the model's context is {model.config.context}"
        )
    engine = Engine(
        model,
        ends=ends,
        max_rows=min(max_rows, len(prompts) * num_samples),
        num_slots=longest + sampling.max_new_tokens,
    )
    keys = range(len(prompts)) if keys is None else keys
    tickets = [
        [
            engine.submit(prompt, sampling, seed=seed, key=key, sample=sample)
            for sample in range(num_samples)
        ]
        for prompt, key in zip(prompts, keys, strict=True)
    ]
    drawn: dict[int, list[Drawn]] = {ticket: [] for group in tickets for ticket in group}
    while not engine.is_idle:
        if is_unwanted is not None and is_unwanted():
            raise Interrupted
        for one in engine.step():
            drawn[one.ticket].append(one)
    is_end = frozenset(ends)
    return [
        [
            Completion(
                [one.token for one in drawn[ticket]],
                [one.logprob for one in drawn[ticket]],
                drawn[ticket][-1].token in is_end,
            )
            for ticket in group
        ]
        for group in tickets
    ]
