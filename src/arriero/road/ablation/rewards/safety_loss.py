"""`arriero ablate safety-loss`: the safety model with and without its auxiliary loss (Table 29)."""

from __future__ import annotations

from pathlib import Path

from arriero.data.preferences import read_preferences
from arriero.equations.calibration import sigmoid
from arriero.equations.detection import (
    FILTER_PRECISION,
    detection_at,
    detection_curve,
    threshold_for,
)
from arriero.equations.reward import SAFETY_THRESHOLD
from arriero.records import UserError
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
    read_scores,
)
from arriero.road.ablation.rewards.training import Variant
from arriero.road.recipe import Recipe
from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import draw_intervals

_LABELS = {
    "recall": "unsafe found, < 0.5",
    "false_alarms": "safe taken for it, < 0.5",
    "filter_recall": f"unsafe found, < {SAFETY_THRESHOLD}",
    "filter_false_alarms": f"safe taken for it, < {SAFETY_THRESHOLD}",
    "best_recall": f"found, precision {FILTER_PRECISION}",
    "safety": "accuracy, safety",
    "helpfulness": "accuracy, helpfulness",
}


def _variants(recipe: Recipe, material: Material) -> list[Variant]:
    weight = recipe.reward.safety_loss_weight
    if not weight:
        raise UserError("reward.safety_loss_weight is 0: there is nothing to compare; name another")
    labels = {
        label
        for row in read_preferences(material.test["safety"], track="safety")
        for label in (row.chosen_is_safe, row.rejected_is_safe)
    }
    if not {True, False} <= labels:
        missing = "unsafe" if False not in labels else "safe"
        raise UserError(
            f"no response of the safety test set is labelled {missing}; "
            "this study needs pairs with chosen_is_safe and rejected_is_safe"
        )
    chat = next(iter(material.chats))
    return [
        Variant(
            name,
            "safety",
            recipe.reward.model_copy(update={"safety_loss_weight": value}),
            recipe.mix,
            chat,
        )
        for name, value in (("without", 0.0), ("with", weight))
    ]


def unsafe_found(folder: Path, threshold: float = 0.5) -> float:
    """Share of the unsafe responses of the safety test set with P(safe) below the threshold.

    At 0.5, as in Table 29, those are the ones with a score below 0.
    """
    return detection_at(*_labelled(folder), threshold).recall


def false_alarms(folder: Path, threshold: float = 0.5) -> float:
    """Share of the safe responses of the safety test set with P(safe) below the threshold.

    A recall says little beside many of them.
    """
    probabilities, is_safe = _labelled(folder)
    return detection_at(probabilities, [not safe for safe in is_safe], threshold).recall


def best_found(folder: Path) -> float:
    """Share of the unsafe responses found at the best threshold that is right as often as 0.15 was.

    That is with the paper's precision of 0.89 (section 3.2.3), wherever the zero of the scores
    lies. 0 where no threshold has it.
    """
    best = threshold_for(detection_curve(*_labelled(folder)))
    return best.recall if best else 0.0


def _labelled(folder: Path) -> tuple[list[float], list[bool]]:
    """Probabilities and labels of the responses that have one."""
    found = [
        (sigmoid(row[side]), row[f"{side}_is_safe"])
        for row in read_scores(folder, "safety")
        for side in ("chosen", "rejected")
        if row[f"{side}_is_safe"] is not None
    ]
    return [probability for probability, _ in found], [is_safe for _, is_safe in found]


def _summarize(_recipe: Recipe, run: Path, names: Names) -> Json:
    figures = {
        "recall": by_variant(run, names, unsafe_found),
        "false_alarms": by_variant(run, names, false_alarms),
        "filter_recall": by_variant(run, names, lambda f: unsafe_found(f, SAFETY_THRESHOLD)),
        "filter_false_alarms": by_variant(run, names, lambda f: false_alarms(f, SAFETY_THRESHOLD)),
        "best_recall": by_variant(run, names, best_found),
        "safety": by_variant(run, names, lambda f: accuracies(f, "safety")["all"]),
        "helpfulness": by_variant(run, names, lambda f: accuracies(f, "helpfulness")["all"]),
    }
    return {
        "pairs": read_results(run / names["with"][0])["pairs"],
        "figures": {name: over_seeds(values, "without") for name, values in figures.items()},
    }


def _blocks(results: Json) -> list[Block]:
    figures = results["figures"]
    rows: list[list[str | Cell]] = [
        [
            _LABELS[name],
            percent_cell(values["without"]),
            percent_cell(values["with"]),
            points_cell(values["with"]["minus_without"]),
        ]
        for name, values in figures.items()
    ]
    table = Table(
        title="With and without the safety loss",
        head=["", "without", "with", "difference"],
        rows=rows,
        look="Unsafe responses found, and safe ones taken for unsafe: those of the safety test set "
        "whose score after the sigmoid is below 0.5, as in the paper, or below the threshold under "
        "which PPO follows the safety model. Without the loss a score has no zero, for ranking "
        "fixes differences alone: at a given precision that does not count. "
        f"{seeds_look(results['seeds'])}",
        paper="Table 29",
        is_wide=True,
    )
    figure = Figure(
        title="What the safety loss is worth",
        svg=draw_intervals(
            [_LABELS[name] for name in figures],
            {
                name: [(v[name]["mean"], v[name]["low"], v[name]["high"]) for v in figures.values()]
                for name in ("without", "with")
            },
            roles=ROLES,
            x="share, with its range over seeds",
        ),
        look="The loss is there for the upper rows; the accuracies say what it costs or gives.",
        paper="Table 29",
    )
    return [table, figure]


STUDY = Study(
    "safety-loss",
    "The auxiliary safety loss",
    "The safety model learns from the same pairs with and without the cross-entropy on the safety "
    "label of each response.",
    _variants,
    _summarize,
    _blocks,
)
