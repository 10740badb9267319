"""Accuracy of scorers on pairs (Tables 7, 8 and 29), and the scorers beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import Interval, draw_intervals
from arriero.road.report.wording import count, interval, percent, plain

Json = Mapping[str, Any]

TRIVIAL_ROLE = "grey"
"""The colour of scorers that know nothing."""

_TITLES = {
    "rating": ("By degree of preference", "Table 8", "Close choices are hard, for people too."),
    "safety": (
        "By safety labels",
        "Table 29",
        "Which answers are safe: the chosen one alone, both, or neither.",
    ),
    "turns": ("By turns", "", "Turns of the user in the dialog."),
    "words": ("By length", "", "Words of the longer answer."),
    "chosen is": (
        "Where the better answer is longer, and where it is not",
        "",
        "A scorer that counts words is right in the first column and wrong in the last.",
    ),
}


def accuracy_blocks(figures: Json, roles: Mapping[str, str]) -> list[Block]:
    """Everything about accuracy on one set; nothing where no pair was scored."""
    accuracy = {name: groups for name, groups in figures["accuracy"].items() if groups}
    if not accuracy:
        return []
    blocks: list[Block] = [_overall(accuracy, roles)]
    if comparisons := figures["comparisons"]:
        blocks.append(_comparisons(comparisons))
    for grouping in _TITLES:
        by_scorer = {name: groups.get(grouping, {}) for name, groups in accuracy.items()}
        groups = list(dict.fromkeys(group for each in by_scorer.values() for group in each))
        if len(groups) > 1:
            blocks.append(_table(grouping, groups, by_scorer))
            if grouping == "rating":
                blocks.append(_by_rating(groups, by_scorer, roles))
    return blocks


def _overall(accuracy: Json, roles: Mapping[str, str]) -> Figure:
    names = list(accuracy)
    return Figure(
        title="Accuracy",
        svg=draw_intervals(
            names,
            {"all pairs": [_interval(accuracy[name]["all"]["all"]) for name in names]},
            roles=("blue",),
            row_roles=[roles[name] for name in names],
            x="pairs ordered as people did",
            reference=0.5,
        ),
        look="The dashed line is chance; a tie counts one half. Bars are 95% intervals.",
        paper="Table 7",
    )


def _interval(entry: Json | None) -> Interval | None:
    return None if entry is None else (entry["accuracy"], entry["low"], entry["high"])


def _table(grouping: str, groups: Sequence[str], by_scorer: Json) -> Table:
    title, paper, look = _TITLES[grouping]
    best = {
        group: max(each[group]["accuracy"] for each in by_scorer.values() if group in each)
        for group in groups
    }
    sizes = {
        group: max(each[group]["n"] for each in by_scorer.values() if group in each)
        for group in groups
    }
    rows = [
        [name, *(_cell(each.get(group), best[group]) for group in groups)]
        for name, each in by_scorer.items()
    ]
    rows.append(["pairs", *(count(sizes[group]) for group in groups)])
    return Table(
        title=title,
        head=["scorer", *(plain(group) for group in groups)],
        rows=rows,
        look=look,
        paper=paper,
        has_total=True,
        is_wide=len(groups) > 3,
    )


def _cell(entry: Json | None, best: float) -> str | Cell:
    if entry is None:
        return "–"
    value = entry["accuracy"]
    shade = min(max((value - 0.5) / 0.5, 0.0), 1.0)
    return Cell(percent(value), interval(entry["low"], entry["high"]), shade, value == best)


def _by_rating(groups: Sequence[str], by_scorer: Json, roles: Mapping[str, str]) -> Figure:
    # What length and chance reach stands in the table; here it would only hide the others.
    shown = {name: each for name, each in by_scorer.items() if roles[name] != TRIVIAL_ROLE}
    by_scorer = shown or by_scorer
    return Figure(
        title="Accuracy falls as the choice gets closer",
        svg=draw_intervals(
            [plain(group) for group in groups],
            {name: [_interval(each.get(g)) for g in groups] for name, each in by_scorer.items()},
            roles=[roles[name] for name in by_scorer],
            x="pairs ordered as people did",
            reference=0.5,
        ),
        look="From top to bottom the two answers get more alike.",
        paper="Table 8",
    )


def _comparisons(comparisons: Sequence[Json]) -> Table:
    rows: list[list[str | Cell]] = [
        [
            f"{row['a']} – {row['b']}",
            Cell(
                _signed(row["difference"]),
                f"{_signed(row['low'])} to {_signed(row['high'])}",
            ),
            percent(row["agreement"]),
            "–" if row["kappa"] is None else f"{row['kappa']:.2f}".replace("-", "−"),
            count(row["n"]),
        ]
        for row in comparisons
    ]
    return Table(
        title="Scorers beside one another",
        head=["scorers", "difference of accuracy", "order alike", "kappa", "pairs"],
        rows=rows,
        look="On the pairs that both scored. The interval is a bootstrap over prompts; where it "
        "holds 0 the difference may be chance. Kappa is agreement beyond what two scorers of "
        "these accuracies would have by chance: 0 if their errors have nothing in common.",
        is_wide=True,
    )


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}%".replace("-", "−")
