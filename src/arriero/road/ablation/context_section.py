"""Report section of half the context against the whole (Tables 16 and 17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arriero.road.ablation.naming import HALF, ROLES, change, difference_cell, loss, seed_range
from arriero.road.report.blocks import Block, Cell, Figure, Section, Table
from arriero.road.report.drawing import Curve, draw_curves
from arriero.road.report.wording import count

Json = Mapping[str, Any]


def context_section(results: Json) -> Section:
    """What the second half of the context is worth, by position, and that it costs nothing."""
    context = results["context"]
    half = context // 2
    variants = {variant["name"]: variant for variant in results["variants"]}
    rows = results["positions"]
    middles = [(row["from"] + row["to"]) / 2 for row in rows]
    curves = [
        Curve(middles, [row["half"] for row in rows], f"context {half:,}", ROLES[HALF],
              has_markers=True),
        Curve(middles, [row["whole"] for row in rows], f"context {context:,}", ROLES["mha"],
              has_markers=True),
    ]  # fmt: skip
    figure = Figure(
        title="Loss by position in the document",
        svg=draw_curves(
            curves, x="position in tokens", y="loss a token", marks=[(float(half), f"{half:,}")]
        ),
        look=f"Up to position {half:,} both read the same. From there on the shorter one slides "
        "along, with three quarters of its context or more before every prediction; the longer "
        "one still sees the beginning.",
        paper="Table 16",
    )
    lead = (
        f"The same model reads the same {count(results['tokens'])} tokens in rows of {half:,} and "
        f"in rows of {context:,}: the paper's 2k against 4k, at this size."
    )
    blocks: list[Block] = [figure, _short_table(variants, results), _positions_table(results)]
    return Section("context", "Context length", lead, blocks)


def _short_table(variants: Mapping[str, Json], results: Json) -> Table:
    context = results["context"]
    rows: list[list[str | Cell]] = []
    for kind, label in (("long_loss", "long documents"), ("short_loss", "short documents")):
        whole, half = variants["mha"][kind], variants[HALF][kind]
        difference = half["minus_mha"]
        gain = {"value": -difference["value"], "low": None, "high": None}
        if difference["low"] is not None:
            gain |= {"low": -difference["high"], "high": -difference["low"]}
        rows.append(
            [
                label,
                Cell(loss(half["mean"]), seed_range(half)),
                Cell(loss(whole["mean"]), seed_range(whole)),
                difference_cell(gain),
            ]
        )
    held_out = results["corpus"]["held_out"]
    documents = (
        f"{held_out['short']} documents of at most {context // 2:,} tokens"
        if held_out["short"]
        else f"the beginnings of the long ones, {context // 2:,} tokens"
    )
    return Table(
        title="Long text and short text",
        head=["held-out text", f"context {context // 2:,}", f"context {context:,}", "change"],
        rows=rows,
        look=f"Long: the first {context:,} tokens of {held_out['long']} documents. Short: "
        f"{documents}; a change of about 0 there says that the longer context costs nothing.",
        paper="Tables 16 and 17",
    )


def _positions_table(results: Json) -> Table:
    rows: list[list[str | Cell]] = [
        [
            f"{row['from']:,} to {row['to']:,}",
            loss(row["half"]),
            loss(row["whole"]),
            difference_cell(row["half_minus_whole"]),
            change(row["half_minus_whole"]["value"] / row["half"]),
        ]
        for row in results["positions"]
    ]
    half, whole = (f"context {results['context'] // part:,}" for part in (2, 1))
    return Table(
        title="By position, in numbers",
        head=["positions", half, whole, "what the shorter one loses", "of its loss"],
        rows=rows,
        look="Paired by seed, with 95% intervals by Student's t."
        if results["seeds"] > 1
        else "One seed: no interval.",
        paper="Table 16",
        is_wide=True,
    )
