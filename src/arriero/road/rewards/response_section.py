"""Calibration of scores (Figure 29), and which threshold finds unsafe answers (section 3.2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import Curve, Interval, draw_curves, draw_intervals
from arriero.road.report.wording import count, percent

Json = Mapping[str, Any]

# A share of fewer is drawn by chance.
_LEAST_SHOWN = 10


def calibration_blocks(calibration: Json, roles: Mapping[str, str]) -> list[Block]:
    """Confidence in a choice against how often it is right, a curve a scorer."""
    known = {name: each for name, each in calibration.items() if each["n"]}
    if not known:
        return []
    curves = _reliability({name: each["bins"] for name, each in known.items()}, roles, 0.5)
    errors = ", ".join(f"{name} {percent(each['ece'])}" for name, each in known.items())
    return [
        Figure(
            title="How sure, and how often right",
            svg=draw_curves(
                curves,
                x="sigmoid of the difference, percent",
                y="pairs ordered as people did",
                is_percent=True,
            ),
            look="On the dashed line a model is as often right as it says; below it, it is too "
            f"sure. Points of fewer than {_LEAST_SHOWN} are left out. Expected calibration "
            f"error: {errors}.",
            paper="Equation 1",
        )
    ]


def grade_blocks(grades: Json, roles: Mapping[str, str]) -> list[Block]:
    """Scores against human grades: Figure 29 and its numbers."""
    blocks: list[Block] = []
    for name, figures in grades.items():
        entries = figures["by_grade"]
        series: list[Interval | None] = [
            (each["score"], each["low"], each["high"]) for each in entries
        ]
        blocks.append(
            Figure(
                title=f"Score by human grade, {name}",
                svg=draw_intervals(
                    [f"grade {each['grade']}" for each in entries],
                    {name: series},
                    roles=(roles[name],),
                    x="mean score",
                    is_percent=False,
                ),
                look="Better grades should have higher scores, from row to row.",
                paper="Figure 29",
            )
        )
    with_bins = {name: each["bins"] for name, each in grades.items() if "bins" in each}
    if with_bins:
        blocks.append(
            Figure(
                title="Probability and grade",
                svg=draw_curves(
                    _reliability(with_bins, roles, 0.0),
                    x="sigmoid of the score, percent",
                    y="(grade − 1) / 6",
                    is_percent=True,
                ),
                look="The grade as a share of its scale against the score as a probability.",
                paper="Figure 29",
            )
        )
    if grades:
        blocks.append(_grade_table(grades))
    return blocks


def _reliability(bins: Json, roles: Mapping[str, str], low: float) -> list[Curve]:
    """The line of perfect calibration, and a curve a scorer, without bins of too few."""
    bins = {
        name: [each for each in of_scorer if each["n"] >= _LEAST_SHOWN] or of_scorer
        for name, of_scorer in bins.items()
    }
    perfect = Curve((100 * low, 100), (low, 1.0), "", "grey", is_dashed=True)
    return [perfect] + [
        Curve(
            [100 * each["predicted"] for each in of_scorer],
            [each["observed"] for each in of_scorer],
            name,
            roles[name],
            has_markers=True,
        )
        for name, of_scorer in bins.items()
    ]


def _grade_table(grades: Json) -> Table:
    rows: list[list[str]] = [
        [
            name,
            count(figures["n"]),
            "–" if figures["correlation"] is None else _number(figures["correlation"]),
            percent(figures.get("ece")),
        ]
        for name, figures in grades.items()
    ]
    return Table(
        title="How well scores follow grades",
        head=["scorer", "answers", "rank correlation", "calibration error"],
        rows=rows,
        look="The correlation asks for the order alone; the calibration error for the probability.",
        paper="Figure 29",
        is_wide=True,
    )


def detection_blocks(detection: Json, roles: Mapping[str, str]) -> list[Block]:
    """Precision against recall, and the thresholds to choose from."""
    if not detection:
        return []
    curves = [
        Curve(
            [100 * point["recall"] for point in figures["curve"]],
            [point["precision"] for point in figures["curve"]],
            name,
            roles[name],
        )
        for name, figures in detection.items()
        if figures["num_unsafe"]
    ]
    blocks: list[Block] = [_detection_table(detection)]
    if curves:
        blocks.insert(
            0,
            Figure(
                title="Finding unsafe answers",
                svg=draw_curves(
                    curves,
                    x="recall: of the unsafe answers the found, percent",
                    y="precision",
                    is_percent=True,
                ),
                look="Each point is a threshold under which an answer counts as unsafe.",
                paper="section 3.2.3",
            ),
        )
    return blocks


def _detection_table(detection: Json) -> Table:
    rows: list[list[str | Cell]] = [
        [
            name,
            Cell(count(figures["n"]), f"{figures['num_unsafe']:,} unsafe"),
            *_at(figures["paper"]),
            _threshold(figures["chosen"]),
            *_at(figures["chosen"]),
            percent(figures["unsafe_recall"]),
        ]
        for name, figures in detection.items()
    ]
    wanted = next(iter(detection.values()))["wanted_precision"]
    return Table(
        title="Thresholds",
        head=[
            "scorer",
            "answers",
            "precision at 0.15",
            "recall at 0.15",
            f"threshold for precision ≥ {wanted}",
            "its precision",
            "its recall",
            "recall at 0.5",
        ],
        rows=rows,
        look="An answer counts as unsafe under a threshold of P(safe). The paper took 0.15 for a "
        "precision of 0.89 and a recall of 0.55 on its own data; the threshold that keeps this "
        "precision here, with the most recall, stands beside it. The last column is Table 29's.",
        paper="section 3.2.3, Table 29",
        is_wide=True,
    )


def _at(point: Json | None) -> Sequence[str]:
    if point is None:
        return ("–", "–")
    return (percent(point["precision"]), percent(point["recall"]))


def _threshold(point: Json | None) -> str:
    return "none" if point is None else f"{point['threshold']:.3g}"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
