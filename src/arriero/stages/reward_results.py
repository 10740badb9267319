"""What a reward model says of pairs it has not learned from (Tables 7 and 8, Figure 27)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from arriero.alignment.scoring import score_sequences
from arriero.equations.intervals import wilson_interval
from arriero.equations.ranking import pair_accuracy
from arriero.model.heads import ScoreModel
from arriero.records import Rating
from arriero.stages.reward_pairs import EncodedPair


def pair_accuracies(
    model: ScoreModel, pairs: Sequence[EncodedPair]
) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Accuracy with its 95% interval, over all pairs and by rating (Tables 7 and 8).

    Also returns the raw scores [2, N] of chosen and rejected responses.
    """
    scores = score_sequences(model, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    scores = scores.view(2, len(pairs))
    groups = {"all": list(range(len(pairs)))}
    for rating in Rating:
        members = [number for number, pair in enumerate(pairs) if pair.row.rating == rating]
        if members:
            groups[rating.value] = members
    return {name: _accuracy(scores[:, members]) for name, members in groups.items()}, scores


def _accuracy(scores: Tensor) -> dict[str, float]:
    """Share of pairs [2, N] in the right order with its 95% Wilson interval."""
    count = scores.shape[1]
    share = float(pair_accuracy(scores[0], scores[1])) if count else 0.0
    low, high = wilson_interval(share * count, count)
    return {"accuracy": share, "low": low, "high": high, "n": count}


def score_histogram(scores: Tensor) -> dict[str, Any]:
    """How chosen and rejected responses score, in 30 bins (the shape of Figure 27)."""
    low, high = float(scores.min()), float(scores.max()) + 1e-6
    edges = np.linspace(low, high, 31)
    chosen, rejected = (np.histogram(side.numpy(), edges)[0].tolist() for side in scores)
    return {"edges": edges.tolist(), "chosen": chosen, "rejected": rejected}


def score_rows(
    test_set: str, pairs: Sequence[EncodedPair], scores: Tensor
) -> Iterator[dict[str, Any]]:
    """What is known of every pair of a test set, and its raw scores, from [2, N]."""
    for pair, (chosen, rejected) in zip(pairs, scores.T.tolist(), strict=True):
        yield {
            "set": test_set,
            "prompt_id": pair.row.prompt_id,
            "source": pair.row.source,
            "rating": pair.row.rating,
            "chosen": chosen,
            "rejected": rejected,
            "chosen_is_safe": pair.row.chosen_is_safe,
            "rejected_is_safe": pair.row.rejected_is_safe,
        }
