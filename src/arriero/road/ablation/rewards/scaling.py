"""`arriero ablate reward-scaling`: accuracy by data and by size of the model (Figure 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from arriero.equations.trend import log_trend
from arriero.model.weights import open_hugging_face
from arriero.records import UserError
from arriero.road.ablation.rewards.material import (
    Material,
    make_material,
    steps_before,
)
from arriero.road.ablation.rewards.page import (
    ROLES,
    Json,
    Names,
    Study,
    percent_cell,
    seeds_look,
)
from arriero.road.ablation.rewards.scores import accuracies, by_variant, over_seeds, read_results
from arriero.road.ablation.rewards.training import Variant
from arriero.road.recipe import Recipe
from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import Curve, draw_curves
from arriero.road.report.wording import count
from arriero.road.run import run_steps
from arriero.road.stations import names_of

_TRACK = "helpfulness"
_SIZES = "sizes"
_TREND_POINTS = 33


def _variants(recipe: Recipe, material: Material) -> list[Variant]:
    shares = sorted(recipe.ablation.reward_shares)
    return [
        Variant(f"size{size}-share{part}", _TRACK, recipe.reward, recipe.mix, chat, share)
        for size, chat in enumerate(material.chats)
        for part, share in enumerate(shares)
    ]


def _make(recipe: Recipe, run: Path, say: Callable[[str], None]) -> Material:
    """The recipe's own chat model with its comparisons, and chat models of the other widths."""
    # All of them before the long way, of which the first may be the only one that can be gone.
    others = {
        width: resized(recipe, width) for width in recipe.ablation.reward_widths if width != 1
    }
    made = make_material(recipe, run, say)
    chats = dict(made.chats)
    for width, other in others.items():
        folder = run / _SIZES / f"{width:g}"
        last = names_of(other).sft[-1]
        run_steps(steps_before(other, folder, last), other, folder, say)
        chats[f"{width:g}x"] = folder / last / "model"
    return replace(made, chats=chats)


def resized(recipe: Recipe, width: float) -> Recipe:
    """The recipe with a model so many times as wide; a head keeps its width.

    Raises:
        UserError: the heads do not divide so.
    """
    model = recipe.model
    scaled = {
        name: getattr(model, name) * width
        for name in ("dim", "ffn_dim", "num_heads", "num_kv_heads")
    }
    if recipe.base or not all(value >= 1 and value == int(value) for value in scaled.values()):
        raise UserError(
            f"ablation.reward_widths: a model cannot be {width:g} times as wide as this one; name "
            "other widths, or runs of other sizes by --from-run"
        )
    shape = model.model_copy(update={name: int(value) for name, value in scaled.items()})
    return recipe.model_copy(update={"model": shape, "name": f"{recipe.name} x {width:g}"})


def _summarize(_recipe: Recipe, run: Path, names: Names) -> Json:
    figures = over_seeds(
        by_variant(run, names, lambda f: accuracies(f, _TRACK)["all"]), next(iter(names))
    )
    sizes: dict[int, Json] = {}
    for name, own in names.items():
        size = int(name.removeprefix("size").partition("-")[0])
        found = read_results(run / own[0])
        entry = sizes.setdefault(size, {"parameters": _parameters(run / own[0]), "points": []})
        entry["points"].append({"pairs": found["pairs"], "accuracy": figures[name]})
    for entry in sizes.values():
        trend = log_trend(
            [p["pairs"] for p in entry["points"] for _ in p["accuracy"]["seeds"]],
            [value for p in entry["points"] for value in p["accuracy"]["seeds"]],
        )
        entry["trend"] = None if trend is None else trend._asdict()
    ordered = sorted(sizes.values(), key=lambda entry: entry["parameters"])
    largest = [entry["points"][-1]["accuracy"]["mean"] for entry in ordered]
    return {"test_set": _TRACK, "sizes": ordered, "by_size": largest}


def _parameters(folder: Path) -> int:
    """Of the reward model that a training left."""
    config = open_hugging_face(folder / "model", "score").config
    return config.num_backbone_parameters + config.dim


def _label(entry: Json) -> str:
    return f"{count(entry['parameters'])} parameters"


def _blocks(results: Json) -> list[Block]:
    sizes: Sequence[Json] = results["sizes"]
    curves: list[Curve] = []
    for entry, role in zip(sizes, cycle(ROLES), strict=False):
        pairs = [float(point["pairs"]) for point in entry["points"]]
        means = [point["accuracy"]["mean"] for point in entry["points"]]
        curves.append(Curve(pairs, means, _label(entry), role, has_markers=True))
        if entry["trend"]:
            along = np.geomspace(pairs[0], pairs[-1], _TREND_POINTS).tolist()
            fitted = [_fitted(entry["trend"], value) for value in along]
            curves.append(Curve(along, fitted, "", role, is_dashed=True))
    figure = Figure(
        title="Accuracy by data and by size",
        svg=draw_curves(curves, x="pairs of the mix", y="accuracy", is_percent=True),
        look="Dashed: a + b log₂(pairs), fitted to all seeds of a size.",
        paper="Figure 6",
    )
    table = Table(
        title="In numbers",
        head=["model", "pairs", "accuracy"],
        rows=_rows(sizes),
        look=seeds_look(results["seeds"]),
        paper="Figure 6",
        num_names=2,
    )
    trends = Table(
        title="What twice the data is worth",
        head=["model", "points a doubling", "R²", "all data"],
        rows=[_trend_row(entry) for entry in sizes],
        look="The slope of each size's trend, how much of the spread it explains, and the accuracy "
        "with all data.",
        paper="Figure 6",
    )
    return [figure, table, trends]


def _rows(sizes: Sequence[Json]) -> list[list[str | Cell]]:
    return [
        [_label(entry), count(point["pairs"]), percent_cell(point["accuracy"])]
        for entry in sizes
        for point in entry["points"]
    ]


def _trend_row(entry: Json) -> list[str | Cell]:
    trend, last = entry["trend"], entry["points"][-1]["accuracy"]
    if trend is None:
        return [_label(entry), "none", "none", percent_cell(last)]
    points = f"{100 * trend['slope']:+.2f}".replace("-", "−")
    return [_label(entry), points, f"{trend['r_squared']:.2f}", percent_cell(last)]


def _fitted(trend: Any, pairs: float) -> float:
    return trend["intercept"] + trend["slope"] * math.log2(pairs)


STUDY = Study(
    "reward-scaling",
    "Data and size",
    "The helpfulness model learns from growing parts of its own comparisons, started from chat "
    "models of each size. A larger part holds the smaller ones.",
    _variants,
    _summarize,
    _blocks,
    _make,
    most_runs=len(ROLES),
)
