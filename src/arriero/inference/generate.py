"""Batched sampling on a static cache.

A fixed number of rows decodes together; as rows end, the next prompts take their place, so that the
batch stays full. A prompt that is sampled K times is prefilled once. Every sample draws from a
generator of its own, so at a fixed batch shape its tokens do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from arriero.equations.sampling import chosen_logprobs, sample_tokens
from arriero.inference.batches import batches, padded
from arriero.model.cache import KVCache
from arriero.model.heads import LanguageModel
from arriero.records import UserError

EOS_ID = 2

# New prompts come in once this share of the rows has ended: a prefill of few tokens is slow.
_REFILL_AT = 0.125
# With no prompt waiting, rows leave once the rest is this share: each move copies the cache.
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
    stop_ids: tuple[int, ...] = Field(
        default=(), description="ids beside EOS that end a continuation, and stay in it"
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
    if not prompts:
        return []
    keys = list(range(len(prompts))) if keys is None else keys
    for prompt in prompts:
        if len(prompt) >= model.config.context:
            raise UserError(
                f"a prompt has {len(prompt)} tokens, the model's context is {model.config.context}"
            )
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    uniforms = torch.stack(
        [
            _uniforms(seed, keys[index], sample, sampling.max_new_tokens)
            for index in order
            for sample in range(num_samples)
        ]
    )
    batch = [prompts[index] for index in order]
    completions = _generate(model, batch, sampling, uniforms, num_samples, max_rows)
    results: list[list[Completion]] = [[] for _ in prompts]
    for number, completion in enumerate(completions):
        results[order[number // num_samples]].append(completion)
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
        with torch.inference_mode():
            token, _ = _draw(logits, uniforms[step : step + 1], sampling)
        if int(token) in (EOS_ID, *sampling.stop_ids):
            return
        yield int(token)
        with torch.inference_mode():
            logits = _decode(model, cache, token, lengths)
            lengths = lengths + 1


def _generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    uniforms: Tensor,
    num_samples: int,
    max_rows: int,
) -> list[Completion]:
    """All samples of all prompts: those of the first prompt, those of the second, ..."""
    device = model.lm_head.weight.device
    uniforms = uniforms.to(device)
    prompts_at_once = min(len(prompts), max(1, max_rows // num_samples))
    rows = _Rows(model, prompts, sampling, prompts_at_once * num_samples)
    drawn = torch.zeros(uniforms.shape, dtype=torch.int64, device=device)
    logprobs = torch.zeros(uniforms.shape, device=device)
    counts = torch.zeros(len(uniforms), dtype=torch.int64, device=device)
    num_admitted = 0
    while True:
        num_going = int(rows.going.sum())
        num_waiting = len(prompts) - num_admitted
        num_free = (rows.count - num_going) // num_samples
        if num_waiting and num_free >= min(num_waiting, max(1, int(_REFILL_AT * prompts_at_once))):
            new = prompts[num_admitted : num_admitted + num_free]
            for part in batches([len(prompt) for prompt in new], device):
                rows.admit(new[part], num_admitted + part.start, num_samples)
            num_admitted += len(new)
        elif not num_going:
            break
        elif not num_waiting and num_going <= _COMPACT_AT * rows.count:
            rows.compact()
        tokens, chosen = _draw(rows.logits, uniforms[rows.owners, rows.steps], sampling)
        going, owners = rows.going, rows.owners
        drawn[owners[going], rows.steps[going]] = tokens[going]
        logprobs[owners[going], rows.steps[going]] = chosen[going]
        counts[owners[going]] += 1
        rows.advance(tokens)
    return [
        _completion(*row)
        for row in zip(drawn.tolist(), logprobs.tolist(), counts.tolist(), strict=True)
    ]


class _Rows:
    """The rows that decode together: whose they are, how long, and what comes next in each.

    Attributes:
        owners, steps, lengths, going: [R] the sample a row belongs to, tokens drawn for it, tokens
            in its cache, whether it goes on. A row that has ended idles at position 0.
        logits: [R, V] after the last token of each row.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        count: int,
    ) -> None:
        weight = model.lm_head.weight
        self.model = model
        self.max_new = sampling.max_new_tokens
        self.ends = torch.tensor([EOS_ID, *sampling.stop_ids], device=weight.device)
        longest = max(len(prompt) for prompt in prompts) + self.max_new
        slots = min(model.config.context, longest)
        self.cache = KVCache(model.config, count, slots, dtype=weight.dtype, device=weight.device)
        self.owners, self.steps, self.lengths = (
            torch.zeros(count, dtype=torch.int64, device=weight.device) for _ in range(3)
        )
        self.going = torch.zeros(count, dtype=torch.bool, device=weight.device)
        self.logits = torch.zeros(
            count, model.config.vocab_size, dtype=weight.dtype, device=weight.device
        )

    @property
    def count(self) -> int:
        return len(self.owners)

    def admit(self, prompts: Sequence[Sequence[int]], first: int, num_samples: int) -> None:
        """Put `num_samples` rows of each prompt where rows have ended."""
        device = self.going.device
        logits, cache, lengths = _prefill(self.model, prompts, 0)
        rows = (~self.going).nonzero().squeeze(1)[: len(prompts) * num_samples]
        source = torch.arange(len(prompts), device=device).repeat_interleave(num_samples)
        self.cache.place(rows, cache, source)
        self.owners[rows] = first * num_samples + torch.arange(len(rows), device=device)
        self.steps[rows] = 0
        self.lengths[rows] = lengths[source]
        self.logits[rows] = logits[source]
        self.going[rows] = True

    def compact(self) -> None:
        """Drop the rows that have ended."""
        kept = self.going.nonzero().squeeze(1)
        self.cache.select(kept)
        self.owners, self.steps, self.lengths = (
            state[kept] for state in (self.owners, self.steps, self.lengths)
        )
        self.logits, self.going = self.logits[kept], self.going[kept]

    def advance(self, tokens: Tensor) -> None:
        """Take one drawn token a row [R]: rows end, the others get the logits of what follows."""
        self.steps = self.steps + self.going
        self.going = (
            self.going
            & ~torch.isin(tokens, self.ends)
            & (self.steps < self.max_new)
            & (self.lengths + 1 < self.model.config.context)
        )
        self.steps = self.steps * self.going
        self.lengths = self.lengths * self.going
        if bool(self.going.any()):
            self.logits = _decode(self.model, self.cache, tokens, self.lengths)
            self.lengths = self.lengths + self.going


def _completion(tokens: list[int], logprobs: list[float], count: int) -> Completion:
    return Completion(tokens[:count], logprobs[:count], tokens[count - 1] == EOS_ID)


def _prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], num_new: int
) -> tuple[Tensor, KVCache, Tensor]:
    """Logits after each prompt [B, V], the filled cache and the prompts' lengths [B]."""
    device = model.lm_head.weight.device
    tokens, lengths = (part.to(device) for part in padded(prompts))
    longest = tokens.shape[1]
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
