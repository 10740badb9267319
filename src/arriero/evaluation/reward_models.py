"""How well a reward model and the annotators agree with an oracle on unseen pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arriero.alignment.scoring import RewardModels, score_sequences
from arriero.equations.intervals import wilson_interval
from arriero.records import Oracle, Preference, Prompt
from arriero.records.prompt import Track
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer

# "Ninety per cent of the way from chance to the annotators' own agreement."
_WAY = 0.9


def oracle_agreement(
    track: Track,
    rows: Sequence[Preference],
    judges: RewardModels,
    tokenizer: Tokenizer,
    oracle: Oracle,
) -> dict[str, float]:
    """Share of pairs, ties of the oracle left out, that each orders as the oracle does.

    Returns:
        `oracle_agreement` of the track's reward model with its interval, `annotator_agreement`,
        `target` (90% of the way from 0.5 to the annotators) and the number of pairs.
    """
    wanted: list[bool] = []
    kept: list[Preference] = []
    for row in rows:
        prompt = Prompt(row.prompt_id, row.prompt, row.track)
        chosen = oracle.grade(prompt, row.chosen).quality(row.track)
        rejected = oracle.grade(prompt, row.rejected).quality(row.track)
        if chosen != rejected:
            wanted.append(chosen > rejected)
            kept.append(row)
    model = judges.helpfulness if track == "helpfulness" else judges.safety
    prompts = [encode_prompt(tokenizer, row.prompt) for row in kept]
    sides = [
        [ids + encode_answer(tokenizer, text) for ids, text in zip(prompts, texts, strict=True)]
        for texts in ([row.chosen for row in kept], [row.rejected for row in kept])
    ]
    scores = score_sequences(model, sides[0] + sides[1]).view(2, len(kept))
    agrees = (scores[0] > scores[1]) == torch.tensor(wanted)
    count = max(1, len(kept))
    annotators = sum(wanted) / count
    low, high = wilson_interval(int(agrees.sum()), len(kept))
    return {
        "oracle_agreement": float(agrees.float().mean()) if kept else float("nan"),
        "low": low,
        "high": high,
        "annotator_agreement": annotators,
        "target": 0.5 + _WAY * (annotators - 0.5),
        "n": len(kept),
    }
