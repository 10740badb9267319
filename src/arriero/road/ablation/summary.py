"""results.json of an ablation: losses of all seeds, paired differences, speeds, bytes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from arriero.equations.intervals import paired_interval, student_quantile
from arriero.model.attention_variants import (
    GIB,
    PAPER_MHA,
    attention_variants,
    cache_bytes,
    largest_batch,
)
from arriero.model.config import ModelConfig
from arriero.road.ablation.naming import HALF
from arriero.road.recipe import Recipe

# Figure 24: contexts and the 128 tokens that follow, on eight GPUs of 80 GiB.
PAPER_CONTEXTS = (256, 2048, 4096)
PAPER_NEW_TOKENS = 128
PAPER_GIB = 8 * 80
_MOST_PAPER_BATCH = 1024

Json = dict[str, Any]


def summarize(
    recipe: Recipe, shapes: Mapping[str, ModelConfig], run: Path, names: Collection[str]
) -> Json:
    """Gather what the steps of a run left; all of them must be finished.

    Args:
        shapes: the models by name, `half` among them.
        names: folders of the steps that belong to this ablation.
    """
    trained: dict[str, list[Json]] = {name: [] for name in shapes}
    for folder in sorted(names):
        variant = folder.split("-train-")[-1].rpartition("-seed")[0]
        if variant in trained:
            trained[variant].append(_results(run / folder))
    decoding = next(folder for folder in names if folder.endswith("-decoding"))
    corpus = next(folder for folder in names if folder.endswith("-corpus"))
    context = recipe.pretrain.row_length
    return {
        "recipe": recipe.name,
        "source": recipe.data.source,
        "seeds": recipe.ablation.seeds,
        "seed": recipe.seed,
        "tokens": trained["mha"][0]["tokens"],
        "context": context,
        "corpus": _results(run / corpus),
        "variants": [
            _variant(name, shape, shapes["mha"], trained[name], trained["mha"])
            for name, shape in shapes.items()
        ],
        "positions": _positions(trained["mha"], trained[HALF], context),
        "decoding": _results(run / decoding),
        "paper": paper_memory(),
    }


def paired(first: Sequence[float], second: Sequence[float]) -> Json:
    """First minus second, seed by seed: the mean and its 95% interval by Student's t.

    `low` and `high` are None for a single seed: it says nothing about the spread.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(differences) < 2:
        return {"value": differences[0], "low": None, "high": None}
    z = student_quantile(len(differences) - 1)
    return paired_interval(differences, z)._asdict()


def paper_memory() -> Json:
    """Cache and largest batch of the paper's shape, by arithmetic alone, in float16."""
    shapes = attention_variants(PAPER_MHA, 256)
    batches = [2**power for power in range(_MOST_PAPER_BATCH.bit_length())]
    return {
        "gib": PAPER_GIB,
        "parameters": PAPER_MHA.num_parameters,
        "new_tokens": PAPER_NEW_TOKENS,
        "ffn_ratios": {name: shape.ffn_dim / PAPER_MHA.ffn_dim for name, shape in shapes.items()},
        "contexts": [
            {
                "context": context,
                "batches": batches,
                "cache_gib": {
                    name: [
                        cache_bytes(shape, batch, context + PAPER_NEW_TOKENS) / GIB
                        for batch in batches
                    ]
                    for name, shape in shapes.items()
                },
                "largest_batch": {
                    name: largest_batch(shape, context + PAPER_NEW_TOKENS, PAPER_GIB * GIB)
                    for name, shape in shapes.items()
                },
            }
            for context in PAPER_CONTEXTS
        ],
    }


def _results(folder: Path) -> Json:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def _variant(
    name: str, shape: ModelConfig, mha: ModelConfig, own: Sequence[Json], base: Sequence[Json]
) -> Json:
    row: Json = {
        "name": name,
        "num_heads": shape.num_heads,
        "num_kv_heads": shape.num_kv_heads,
        "ffn_dim": shape.ffn_dim,
        "ffn_ratio": shape.ffn_dim / mha.ffn_dim,
        "parameters": shape.num_parameters,
        "size_ratio": shape.num_parameters / mha.num_parameters,
        "context": shape.context,
    }
    for kind in ("long_loss", "short_loss"):
        losses = [results[kind] for results in own]
        row[kind] = {
            "seeds": losses,
            "mean": statistics.fmean(losses),
            "low": min(losses),
            "high": max(losses),
            "minus_mha": paired(losses, [results[kind] for results in base]),
        }
    return row


def _positions(whole: Sequence[Json], half: Sequence[Json], context: int) -> list[Json]:
    """Loss of both contexts by stretch of positions, and what the half context loses."""
    count = len(whole[0]["by_position"])
    width = context // count
    rows: list[Json] = []
    for place in range(count):
        of_whole, of_half = (
            [results["by_position"][place] for results in runs] for runs in (whole, half)
        )
        rows.append(
            {
                "from": place * width + 1,
                "to": (place + 1) * width,
                "whole": statistics.fmean(of_whole),
                "half": statistics.fmean(of_half),
                "half_minus_whole": paired(of_half, of_whole),
            }
        )
    return rows
