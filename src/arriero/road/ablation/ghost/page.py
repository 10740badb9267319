"""The page of the study of Ghost Attention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arriero.road.ablation.ghost.heatmap import draw_attention
from arriero.road.report.blocks import (
    Answer,
    Block,
    Cell,
    Facts,
    Figure,
    Milestone,
    Panels,
    Sample,
    Samples,
    Section,
    Table,
)
from arriero.road.report.costs import costs_section
from arriero.road.report.drawing import Curve, draw_curves
from arriero.road.report.folder import RunFolder, read_run
from arriero.road.report.page import render_page, run_facts, write_page
from arriero.road.report.wording import count, duration, interval, percent

Json = Mapping[str, Any]

_LABELS = {"start": "before", "control": "control", "gatt": "with GAtt"}
_PAPERS_LAST = 20
_ROLES = {"start": "grey", "control": "amber", "gatt": "blue"}


def write_ghost_report(run: Path, results: Json) -> Path:
    """Write `report.html` into the folder of the study; returns its path."""
    folder = read_run(run)
    sections = [
        Section(
            "consistency",
            "Instructions that hold",
            "The first message sets an attribute; turns later, a question asks for it. Earlier "
            "answers are the model's own. The control learned the same dialogs with the "
            "instruction on every turn and loss on every answer.",
            [*_share_blocks(results), _kinds(results)],
        ),
        Section(
            "attention",
            "Where the model looks",
            "The strongest attention of any layer and head in one dialog, the same for all models. "
            "Its last answer honours the instruction.",
            _attention_blocks(results),
        ),
        Section(
            "dialogs",
            "The dialogs",
            "Instructions are combined at random from values that the model named itself.",
            _dialog_blocks(results),
        ),
        costs_section(folder),
    ]
    page = render_page(
        folder,
        about="study of Ghost Attention",
        facts=[*run_facts(folder), ("seeds", str(results["seeds"]))],
        milestones=_milestones(folder),
        tiles=[],
        sections=[section for section in sections if section is not None],
    )
    return write_page(run / "report.html", page)


def _milestones(folder: RunFolder) -> list[Milestone]:
    whole = sum(stage.seconds or 0.0 for stage in folder.stages) or 1.0
    return [
        Milestone(
            stage.label,
            duration(stage.seconds),
            (stage.seconds or 0.0) / whole,
            True,
            "consistency",
        )
        for stage in folder.stages
    ]


def _share_blocks(results: Json) -> list[Block]:
    blocks: list[Block] = []
    for group in ("trained", "untrained"):
        if group not in results["shares"]:
            continue
        shares: Json = results["shares"][group]
        title = f"Instructions honoured, {group} constraints"
        blocks.append(
            Table(
                title=title,
                head=["turn", "tokens", *(_LABELS[name] for name in shares), "GAtt less control"],
                rows=_rows(results, group),
                look="The paper: 100% throughout with GAtt; 100, 10, 0 and 0% at 2, 4, 6 and 20 "
                "turns without. At turn 1 the instruction stands beside the question. Small: 95% "
                "intervals over the tests.",
                paper="Table 30",
                is_wide=True,
            )
        )
        blocks.append(
            Figure(
                title=title,
                svg=draw_curves(
                    [
                        Curve(
                            [float(turn) for turn in found],
                            [each["share"] for each in found.values()],
                            _LABELS[name],
                            _ROLES[name],
                            has_markers=True,
                        )
                        for name, found in shares.items()
                    ],
                    x="turn of the question",
                    is_percent=True,
                ),
                look="How long an instruction of the first turn is remembered.",
                paper="Table 30",
            )
        )
    return blocks


def _rows(results: Json, group: str) -> list[list[str | Cell]]:
    shares: Json = results["shares"][group]
    differences: Json = results["gatt_minus_control"][group]
    turns = sorted({turn for found in shares.values() for turn in found}, key=int)
    return [
        [
            turn,
            count(results["tokens"].get(turn)),
            *(_share_cell(found.get(turn)) for found in shares.values()),
            _points_cell(differences.get(turn)),
        ]
        for turn in turns
    ]


def _share_cell(found: Json | None) -> Cell:
    if found is None:
        return Cell("–")
    return Cell(percent(found["share"]), interval(found["low"], found["high"]), found["share"])


def _points_cell(found: Json | None) -> Cell:
    if found is None:
        return Cell("–")
    small = f"{_points(found['low'])} to {_points(found['high'])}"
    return Cell(_points(found["value"]), small)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _kinds(results: Json) -> Table:
    """The longest dialogs of Table 30, or the longest there are below, by kind."""
    shares: Json = results["shares"]
    kinds = [group for group in shares if " " in group]
    rows: list[list[str | Cell]] = []
    for group in kinds:
        turns = sorted(map(int, shares[group]["gatt"]))
        last = str(max((turn for turn in turns if turn <= _PAPERS_LAST), default=turns[0]))
        rows.append(
            [
                group,
                str(results["tests"][group]),
                last,
                *(_share_cell(found.get(last)) for found in shares[group].values()),
            ]
        )
    return Table(
        title="By kind, many turns later",
        head=["constraint", "tests", "turn", *(_LABELS[n] for n in shares["trained"])]
        if "trained" in shares
        else ["constraint", "tests", "turn", *_LABELS.values()],
        rows=rows,
        look="An untrained constraint is a value that no list held, or a kind without a list.",
        paper="section 3.3",
        is_wide=True,
    )


def _attention_blocks(results: Json) -> list[Block]:
    attention: Json = results["attention"]
    shown = [name for name in ("start", "control", "gatt") if name in attention]
    panels = Panels(
        title="Attention before and after",
        panels=[
            (
                _LABELS[name],
                draw_attention(
                    attention[name]["weights"],
                    attention[name]["bin"],
                    tuple(attention[name]["instruction"]),
                ),
            )
            for name in shown
        ],
        look="The paper: with GAtt the instruction's columns, at the left, stay dark far down.",
        paper="Figure 10",
    )
    curves = Figure(
        title="Attention from each answer to the instruction",
        svg=draw_curves(
            [
                Curve(
                    [float(turn + 1) for turn in range(len(attention[name]["to_instruction"]))],
                    attention[name]["to_instruction"],
                    _LABELS[name],
                    _ROLES[name],
                    has_markers=True,
                )
                for name in shown
            ],
            x="turn",
            y="largest weight",
        ),
        look="The last turn asks for what the instruction set; the turns before are ordinary.",
        paper="Figure 10",
    )
    return [panels, curves]


def _dialog_blocks(results: Json) -> list[Block]:
    dialogs: Json = results["dialogs"]
    facts = Facts(
        [
            ("dialogs", count(dialogs["dialogs"])),
            ("left out, no room to answer", count(dialogs["no_room"])),
            ("turns on average", f"{dialogs['turns']['mean']:.1f}"),
            ("most turns", str(dialogs["turns"]["most"])),
            *((f"values: {kind}", str(len(found))) for kind, found in results["lists"].items()),
        ]
    )
    samples = Samples(
        title="What was sampled",
        samples=[
            Sample(
                [("instruction", row["instruction"]), ("user", row["question"])],
                [Answer("answer", row["answer"])],
                [f"{row['turns']} turns"],
            )
            for row in dialogs["examples"]
        ],
        look="The last question of a dialog, answered with the instruction on every turn.",
        paper="section 3.3",
    )
    lists = Table(
        title="Lists made by the model",
        head=["kind", "values"],
        rows=[[kind, ", ".join(found)] for kind, found in results["lists"].items()],
        look="Named by the model when asked, the most frequent first.",
        paper="A.3.5",
        is_wide=True,
        num_names=2,
    )
    return [facts, lists, samples]
