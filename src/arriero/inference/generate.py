"""Batched sampling on a static cache.

Prompts of similar length share a batch; a prompt that is sampled K times is prefilled once; rows
that have ended leave the batch. Every sample draws from a generator of its own, so at a fixed batch
shape its tokens do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.equations.sampling import chosen_logprobs, sample_tokens
from arriero.model.cache import KVCache
from arriero.model.heads import LanguageModel
from arriero.records import UserError

EOS_ID = 2

# Rows that have ended leave the cache once the rest is this share: each move copies it all.
_COMPACT_AT = 0.7


class Sampling(BaseModel):
    """How to draw tokens. Rollouts that are trained on need top_p = 1 and top_k = 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, ge=0, description="divides the logits; 0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus; 1 keeps everything")
    top_k: int = Field(default=0, ge=0, description="most likely tokens kept; 0 keeps everything")
    max_new_tokens: int = Field(
        default=64, gt=0, description="longest answer in tokens, EOS included"
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation.

    Attributes:
        tokens: new ids, EOS included when it was drawn.
        logprobs: log-probability of each under the temperature-scaled, unfiltered distribution.
        ended: whether EOS was drawn (otherwise max_new_tokens or the context cut it off).
    """

    tokens: list[int]
    logprobs: list[float]
    ended: bool


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int,
    keys: Sequence[int] | None = None,
    num_samples: int = 1,
    max_rows: int = 256,
) -> list[list[Completion]]:
    """Sample `num_samples` continuations of each prompt.

    Args:
        prompts: token ids, none empty.
        keys: a number for each prompt that, with `seed` and the sample's number, fixes its
            randomness; its index if left out.
        max_rows: sequences decoded at once.

    Returns:
        For each prompt its completions, in the order asked for.

    Raises:
        UserError: a prompt leaves no room in the model's context.
    """
    keys = list(range(len(prompts))) if keys is None else keys
    for prompt in prompts:
        if len(prompt) >= model.config.context:
            raise UserError(
                f"a prompt has {len(prompt)} tokens, the model's context is {model.config.context}"
            )
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    per_batch = max(1, max_rows // num_samples)
    results: list[list[Completion]] = [[] for _ in prompts]
    for begin in range(0, len(order), per_batch):
        chosen = order[begin : begin + per_batch]
        uniforms = torch.stack(
            [
                _uniforms(seed, keys[index], sample, sampling.max_new_tokens)
                for index in chosen
                for sample in range(num_samples)
            ]
        )
        batch = [prompts[index] for index in chosen]
        completions = _generate_batch(model, batch, sampling, uniforms, num_samples)
        for number, completion in enumerate(completions):
            results[chosen[number // num_samples]].append(completion)
    return results


def stream(
    model: LanguageModel, prompt: Sequence[int], sampling: Sampling, *, seed: int
) -> Iterator[int]:
    """Ids of one continuation as they are drawn, EOS left out."""
    room = model.config.context - len(prompt)
    if room <= 0:
        raise UserError(
            f"the prompt has {len(prompt)} tokens, the model's context is {model.config.context}"
        )
    limit = min(room, sampling.max_new_tokens)
    uniforms = _uniforms(seed, 0, 0, limit)
    with torch.inference_mode():
        logits, cache, lengths = _prefill(model, [prompt], limit)
        for step in range(limit):
            token, _ = _draw(logits, uniforms[step : step + 1], sampling)
            if int(token) == EOS_ID:
                return
            yield int(token)
            logits = _decode(model, cache, token, lengths)
            lengths = lengths + 1


def _generate_batch(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    uniforms: Tensor,
    num_samples: int,
) -> list[Completion]:
    context = model.config.context
    longest = max(len(prompt) for prompt in prompts)
    logits, cache, lengths = _prefill(
        model, prompts, min(sampling.max_new_tokens, context - longest)
    )
    if num_samples > 1:
        repeated = torch.arange(len(prompts), device=lengths.device)
        repeated = repeated.repeat_interleave(num_samples)
        logits, lengths = logits[repeated], lengths[repeated]
        cache.select(repeated)
    num_rows = len(uniforms)
    drawn = torch.zeros(num_rows, sampling.max_new_tokens, dtype=torch.int64, device=logits.device)
    logprobs = torch.zeros(drawn.shape, device=logits.device)
    counts = torch.zeros(num_rows, dtype=torch.int64, device=logits.device)
    rows = torch.arange(num_rows, device=logits.device)
    going = torch.ones(num_rows, dtype=torch.bool, device=logits.device)
    uniforms = uniforms.to(logits.device)
    for step in range(sampling.max_new_tokens):
        tokens, chosen = _draw(logits, uniforms[rows, step], sampling)
        drawn[rows, step], logprobs[rows, step] = tokens, chosen
        counts[rows[going]] += 1
        going = going & (tokens != EOS_ID) & (lengths + 1 < cache.num_slots)
        num_going = int(going.sum())
        if not num_going or step + 1 == sampling.max_new_tokens:
            break
        if num_going <= _COMPACT_AT * len(rows):
            kept = going.nonzero().squeeze(1)
            rows, tokens, lengths, going = rows[kept], tokens[kept], lengths[kept], going[kept]
            cache.select(kept)
        logits = _decode(model, cache, tokens, lengths)
        # A row that has ended waits for the next compaction; its draws are not counted.
        lengths = torch.clamp(lengths + 1, max=cache.num_slots - 1)
    return [
        _completion(*row)
        for row in zip(drawn.tolist(), logprobs.tolist(), counts.tolist(), strict=True)
    ]


def _completion(tokens: list[int], logprobs: list[float], count: int) -> Completion:
    return Completion(tokens[:count], logprobs[:count], tokens[count - 1] == EOS_ID)


def _prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], num_new: int
) -> tuple[Tensor, KVCache, Tensor]:
    """Logits after each prompt [B, V], the filled cache and the prompts' lengths [B]."""
    device = model.lm_head.weight.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = int(lengths.max())
    tokens = torch.zeros(len(prompts), longest, dtype=torch.int64, device=device)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(list(prompt))
    cache = KVCache(
        model.config,
        len(prompts),
        longest + num_new,
        dtype=model.lm_head.weight.dtype,
        device=device,
    )
    hidden = model.model(tokens, cache=cache, num_slots=longest)
    last = hidden[torch.arange(len(prompts), device=device), lengths - 1]
    return model.lm_head(last), cache, lengths


def _decode(model: LanguageModel, cache: KVCache, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Logits [B, V] after one more token a row, which goes to position `lengths`."""
    num_slots = int(lengths.max()) + 1
    positions = lengths[:, None]
    return model(tokens[:, None], positions=positions, cache=cache, num_slots=num_slots)[:, 0]


def _draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    tokens = sample_tokens(
        logits, uniforms, sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k
    )
    return tokens, chosen_logprobs(logits, tokens, sampling.temperature)


def _uniforms(seed: int, key: int, sample: int, count: int) -> Tensor:
    """Numbers in [0, 1) that belong to one sample of one prompt, whatever else is sampled."""
    mixed = (
        seed * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9 + sample * 0x94D049BB133111EB
    ) % 2**63
    return torch.rand(count, generator=torch.Generator().manual_seed(mixed))
