"""How much of each source is sampled: shares by weight, small sources read several times (2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Portion:
    """A source in the mix.

    Attributes:
        tokens: as many as it has.
        weight: its share as asked for, of 1.
        share: its share as reached.
        sampled: tokens that are read of it.
        epochs: how often it is read.
    """

    tokens: int
    weight: float
    share: float
    sampled: int
    epochs: float


def mix(
    tokens: Mapping[str, int],
    weights: Mapping[str, float | None],
    target: int = 0,
    max_epochs: float = 0.0,
) -> dict[str, Portion]:
    """The portion of each source.

    A source gets its weight's share of the target. One that would be read more than `max_epochs`
    times gets those, and the others share what is left by their weights; where all are read that
    often, the target is not reached.

    Args:
        tokens: of each source.
        weights: in any unit; None for all reads the sources as they are.
        target: tokens to sample; 0 for as many as there are.
        max_epochs: 0 for no bound.

    >>> portions = mix({"web": 900, "books": 100}, {"web": 1, "books": 1}, 1000)
    >>> portions["books"].epochs, portions["web"].sampled
    (5.0, 500)
    """
    total = sum(tokens.values())
    target = target or total
    asked = {name: _weight(weights[name], tokens[name]) for name in tokens if tokens[name]}
    whole = sum(asked.values())
    open_, sampled, left = dict(asked), dict[str, float](), float(target)
    while open_:
        scale = left / sum(open_.values())
        full = [
            name for name in open_ if max_epochs and open_[name] * scale > max_epochs * tokens[name]
        ]
        if not full:
            sampled |= {name: weight * scale for name, weight in open_.items()}
            break
        for name in full:
            sampled[name] = max_epochs * tokens[name]
            left -= sampled[name]
            del open_[name]
    reached = sum(sampled.values())
    return {
        name: Portion(
            tokens=tokens[name],
            weight=asked.get(name, 0.0) / whole if whole else 0.0,
            share=sampled.get(name, 0.0) / reached if reached else 0.0,
            sampled=round(sampled.get(name, 0.0)),
            epochs=sampled.get(name, 0.0) / tokens[name] if tokens[name] else 0.0,
        )
        for name in tokens
    }


def _weight(weight: float | None, tokens: int) -> float:
    return float(tokens) if weight is None else weight
