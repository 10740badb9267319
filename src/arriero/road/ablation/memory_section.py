"""Report section of the paper's own size: what its cache takes, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arriero.model.attention_variants import GIB
from arriero.road.ablation.naming import LABELS, ROLES, gib
from arriero.road.report.blocks import Block, Cell, Panels, Section, Table
from arriero.road.report.drawing import Curve, draw_curves
from arriero.road.report.wording import count

Json = Mapping[str, Any]

# Where Figure 24 has MHA run out of memory: context and batch.
_PAPER_ENDS = {256: 1024, 2048: 128}


def memory_section(paper: Json) -> Section:
    """Cache by batch and context at the paper's size, and the largest batch that fits."""
    contexts = paper["contexts"]
    new, limit = paper["new_tokens"], float(paper["gib"])
    panels = []
    for entry in contexts:
        batches = [float(batch) for batch in entry["batches"]]
        curves = [
            Curve(batches, sizes, LABELS[name], ROLES[name])
            for name, sizes in entry["cache_gib"].items()
        ]
        curves.append(Curve(batches, [limit] * len(batches), role="soft", is_dashed=True))
        svg = draw_curves(curves, x="batch", y="GiB", is_small=True, is_log=True)
        panels.append((f"context {entry['context']:,}", svg))
    blocks: list[Block] = [
        Panels(
            title="Cache of the paper's size",
            panels=panels,
            look=f"GiB in float16 over the batch, {new} new tokens after the context; the dashed "
            f"line is the memory of eight GPUs, {limit:g} GiB, which the weights share.",
            paper="Figure 24",
        ),
        _largest(paper),
        _sizes(paper),
    ]
    lead = (
        "The paper names no shape for its 30B. Taken here: the 34B of Table 1 with as many "
        f"key/value heads as query heads, {count(paper['parameters'])} parameters. Nothing is "
        "measured: bytes follow from the shape."
    )
    return Section("memory", "At the paper's size", lead, blocks)


def _largest(paper: Json) -> Table:
    names = list(paper["ffn_ratios"])
    rows: list[list[str | Cell]] = [
        [
            f"{entry['context']:,} + {paper['new_tokens']}",
            *(f"{entry['largest_batch'][name]:,}" for name in names),
            f"{_PAPER_ENDS[entry['context']]:,}" if entry["context"] in _PAPER_ENDS else "–",
        ]
        for entry in paper["contexts"]
    ]
    ratios = " and ".join(
        f"{paper['ffn_ratios'][name]:.3f} for {LABELS[name]}" for name in reversed(names[1:])
    )
    return Table(
        title="Largest batch in 640 GiB",
        head=["context", *(LABELS[name] for name in names), "paper: MHA out at"],
        rows=rows,
        look="Powers of two, weights in float16 and cache alone; a program needs more. MQA's one "
        "head cannot be split over eight GPUs: each would hold a copy, as much as GQA-8 in all. "
        f"Widening for equal size: {ratios}; the paper says 1.33 and 1.3, which fit a "
        "feed-forward network twice as wide as the residual stream.",
        paper="Figure 24",
    )


def _sizes(paper: Json) -> Table:
    shown = (1, 128)
    names = list(paper["ffn_ratios"])
    rows: list[list[str | Cell]] = []
    for entry in paper["contexts"]:
        for batch in shown:
            place = entry["batches"].index(batch)
            sizes = [entry["cache_gib"][name][place] * GIB for name in names]
            cells = [f"{entry['context']:,}", f"{batch:,}", *map(gib, sizes)]
            rows.append(list(cells))
    return Table(
        title="Cache in numbers",
        head=["context", "batch", *(LABELS[name] for name in names)],
        rows=rows,
        look="2 × layers × key/value width × tokens × 2 bytes, for every sequence.",
        num_names=2,
    )
