"""`arriero ablate reward-mix`: one model of both tracks against one for each (A.4.1)."""

from __future__ import annotations

from pathlib import Path

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
    over_seeds,
    read_results,
)
from arriero.road.ablation.rewards.training import Variant
from arriero.road.recipe import Recipe
from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import draw_intervals
from arriero.road.report.wording import count
from arriero.stages.reward_mix import TrackMix

_EVERYTHING = TrackMix(all=("helpfulness", "safety"))
_SETS = ("helpfulness", "safety")


def _variants(recipe: Recipe, material: Material) -> list[Variant]:
    chat = next(iter(material.chats))
    one = recipe.mix.model_copy(update={"safety": _EVERYTHING})
    return [
        Variant("one", "safety", recipe.reward, one, chat),
        Variant("helpfulness", "helpfulness", recipe.reward, recipe.mix, chat),
        Variant("safety", "safety", recipe.reward, recipe.mix, chat),
    ]


def _summarize(_recipe: Recipe, run: Path, names: Names) -> Json:
    return {
        "pairs": {name: read_results(run / own[0])["pairs"] for name, own in names.items()},
        "mixes": {name: read_results(run / own[0])["mix"] for name, own in names.items()},
        "accuracy": {
            test_set: over_seeds(
                by_variant(run, names, lambda f, s=test_set: accuracies(f, s)["all"]), "one"
            )
            for test_set in _SETS
        },
    }


def _blocks(results: Json) -> list[Block]:
    accuracy, pairs = results["accuracy"], results["pairs"]
    rows: list[list[str | Cell]] = []
    for test_set, figures in accuracy.items():
        best = max(figure["mean"] for figure in figures.values())
        rows.append(
            [
                test_set,
                *(percent_cell(f, is_best=f["mean"] == best) for f in figures.values()),
                points_cell(figures[test_set]["minus_one"]),
            ]
        )
    labels = {"one": "one model", "helpfulness": "helpfulness model", "safety": "safety model"}
    table = Table(
        title="One model or two",
        head=["test set", *(labels[name] for name in pairs), "its own model less the one"],
        rows=rows,
        look="The paper trains two because one finds it hard to weigh both aims; the last column "
        f"says what that is worth here. Pairs: {', '.join(count(n) for n in pairs.values())}. "
        f"{seeds_look(results['seeds'])}",
        paper="A.4.1",
        is_wide=True,
    )
    figure = Figure(
        title="Each model on each test set",
        svg=draw_intervals(
            list(accuracy),
            {
                labels[name]: [
                    (v[name]["mean"], v[name]["low"], v[name]["high"]) for v in accuracy.values()
                ]
                for name in pairs
            },
            roles=ROLES,
            x="accuracy, with its range over seeds",
            reference=0.5,
        ),
        look="The dashed line is chance.",
        paper="A.4.1",
    )
    return [table, figure]


STUDY = Study(
    "reward-mix",
    "One reward model or two",
    "One model learns from all comparisons of both tracks, with the safety loss; two learn from "
    "the recipe's mixes.",
    _variants,
    _summarize,
    _blocks,
)
