"""`arriero ablate margin`: no margin, a small one, a large one (Table 28, Figure 27)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from arriero.road.ablation.rewards.material import Material
from arriero.road.ablation.rewards.page import (
    ROLES,
    Json,
    Names,
    Study,
    percent_cell,
    points_cell,
    seeds_look,
)
from arriero.road.ablation.rewards.scores import (
    accuracies,
    by_variant,
    histograms,
    over_seeds,
    rated,
)
from arriero.road.ablation.rewards.training import Variant
from arriero.road.recipe import Recipe
from arriero.road.report.blocks import Block, Cell, Figure, Panels, Table
from arriero.road.report.drawing import draw_histograms, draw_intervals
from arriero.road.report.wording import plain
from arriero.stages.reward_config import RewardConfig

_TRACK = "helpfulness"
_MARGINS: tuple[Literal["none", "small", "large"], ...] = ("none", "small", "large")


def _configs(recipe: Recipe) -> dict[str, RewardConfig]:
    """The three of the paper, and the recipe's own where it has one."""
    configs = {
        margin: recipe.reward.model_copy(update={"margin": margin, "margins": {}})
        for margin in _MARGINS
    }
    return {**configs, "own": recipe.reward} if recipe.reward.margins else {**configs}


def _variants(recipe: Recipe, material: Material) -> list[Variant]:
    chat = next(iter(material.chats))
    return [
        Variant(name, _TRACK, config, recipe.mix, chat) for name, config in _configs(recipe).items()
    ]


def _summarize(recipe: Recipe, run: Path, names: Names) -> Json:
    ratings = rated([run / folder for folder in names["none"]], _TRACK)
    return {
        "test_set": _TRACK,
        "margins": {
            name: {r.value: m for r, m in config.margin_of.items() if r}
            for name, config in _configs(recipe).items()
        },
        "accuracy": {
            rating: over_seeds(
                by_variant(run, names, lambda f, r=rating: accuracies(f, _TRACK)[r]), "none"
            )
            for rating in ratings
        },
        "scores": histograms(run, names, _TRACK),
    }


def _blocks(results: Json) -> list[Block]:
    accuracy: Mapping[str, Any] = results["accuracy"]
    names = list(accuracy["all"])
    rows: list[list[str | Cell]] = []
    for rating, figures in accuracy.items():
        best = max(figure["mean"] for figure in figures.values())
        rows.append(
            [
                plain(rating),
                *(percent_cell(figures[n], is_best=figures[n]["mean"] == best) for n in names),
                *(points_cell(figures[n]["minus_none"]) for n in names if n != "none"),
            ]
        )
    table = Table(
        title="Accuracy by margin and by degree of preference",
        head=["pairs", *names, *(f"{n} less none" for n in names if n != "none")],
        rows=rows,
        look="The paper: a margin helps where one answer is clearly better, most the large one, "
        f"which costs accuracy on close pairs. {seeds_look(results['seeds'])}",
        paper="Table 28",
        is_wide=True,
    )
    ratings = list(accuracy)
    figure = Figure(
        title="Where the margin helps",
        svg=draw_intervals(
            [plain(rating) for rating in ratings],
            {
                name: [
                    (f["mean"], f["low"], f["high"])
                    for f in (accuracy[rating][name] for rating in ratings)
                ]
                for name in names
            },
            roles=ROLES,
            x="accuracy, with its range over seeds",
            reference=0.5,
        ),
        look="From all pairs down to the closest choices.",
        paper="Table 28",
    )
    return [table, figure, _shift(results)]


def _shift(results: Json) -> Panels:
    scores = results["scores"]
    return Panels(
        title="How the margin moves the scores",
        panels=[
            (
                f"margin: {name}",
                draw_histograms(
                    scores["edges"], sides, roles=("blue", "vermilion"), x="score before sigmoid"
                ),
            )
            for name, sides in scores["variants"].items()
        ],
        look="A larger margin pulls chosen and rejected answers apart, towards two humps.",
        paper="Figure 27",
    )


STUDY = Study(
    "margin",
    "The margin of the ranking loss",
    "The helpfulness model is trained with each margin of Table 27 on the same pairs in the same "
    "order.",
    _variants,
    _summarize,
    _blocks,
)
