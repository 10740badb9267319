"""What is asked of the sampler, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How to draw tokens. Rollouts that are trained on need top_p = 1 and top_k = 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=1.0, ge=0, description="divides the logits; 0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus; 1 keeps everything")
    top_k: int = Field(default=0, ge=0, description="most likely tokens kept; 0 keeps everything")
    max_new_tokens: int = Field(
        default=64, gt=0, description="longest answer in tokens, its end included"
    )
    stop_ids: tuple[int, ...] = Field(
        default=(), description="further ids that end a continuation, and stay in it"
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation.

    Attributes:
        tokens: new ids, the one that ended it included.
        logprobs: log-probability of each under the temperature-scaled, unfiltered distribution.
        ended: whether one of the model's ends was drawn (otherwise a stop id ended it, or
            max_new_tokens or the context cut it off).
    """

    tokens: list[int]
    logprobs: list[float]
    ended: bool


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The model's own distribution at one token (temperature 1, nothing filtered).

    Attributes:
        chosen: log-probability of the token that was drawn.
        top: the most probable ids with theirs, best first.
    """

    chosen: float
    top: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One new token of one request.

    Attributes:
        ticket: the request.
        token: its id.
        logprob: under the temperature-scaled, unfiltered distribution.
        alternatives: where the request asked for them.
        finish: set on a request's last token: "stop" where the token is an end or a stop id,
            "length" where max_new_tokens or the context cut the continuation off.
    """

    ticket: int
    token: int
    logprob: float
    alternatives: Alternatives | None
    finish: Literal["stop", "length"] | None


def sample_seed(seed: int, key: int, sample: int) -> int:
    """A number in [0, 2^63) that belongs to one sample of one prompt, whatever else is sampled."""
    return (
        seed * 0x9E3779B97F4A7C15 + key * 0xBF58476D1CE4E5B9 + sample * 0x94D049BB133111EB
    ) % 2**63


def uniforms(seed: int, key: int, sample: int, count: int) -> list[float]:
    """Numbers in [0, 1) that belong to one sample of one prompt, whatever else is sampled."""
    generator = torch.Generator().manual_seed(sample_seed(seed, key, sample))
    return torch.rand(count, generator=generator).tolist()
