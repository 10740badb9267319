"""Report section of decode speed and cache as batch and context grow (Figure 24)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from arriero.model.attention_variants import GIB
from arriero.road.ablation.naming import LABELS, ROLES, gib
from arriero.road.report.blocks import Block, Cell, Figure, Section, Table
from arriero.road.report.drawing import Curve, draw_curves

Json = Mapping[str, Any]


def speed(decoding: Json, variant: str, context: int, batch: int) -> float | None:
    """Median tokens a second; None where memory did not allow it."""
    for point in decoding["points"]:
        if (point["variant"], point["context"], point["batch"]) == (variant, context, batch):
            rates = point["tokens_per_s"]
            return None if rates is None else statistics.median(rates)
    return None


def largest_common(decoding: Json) -> tuple[int, int] | None:
    """Context and batch with the largest cache at which every variant decodes."""
    places = [
        (context * batch, context, batch)
        for context in _contexts(decoding)
        for batch in _batches(decoding)
        if all(speed(decoding, name, context, batch) for name in _variants(decoding))
    ]
    return max(places)[1:] if places else None


def decoding_section(results: Json) -> Section:
    """Speed and cache over the batch, for each context, and where memory ends."""
    decoding = results["decoding"]
    contexts = _contexts(decoding)
    limit = f"{decoding['memory_gib']:g} GiB"
    blocks: list[Block] = [
        *(
            Figure(
                title=f"Decoded tokens a second, context {context:,}",
                svg=_speeds(decoding, context),
                look="All sequences together, over the batch; both axes double. A line ends where "
                f"weights and cache no longer fit into {limit}. {_first_out(decoding, context)}",
                paper="Figure 24",
            )
            for context in contexts
        ),
        *(
            Figure(
                title=f"Size of the cache, context {context:,}",
                svg=_caches(decoding, context, decoding["memory_gib"]),
                look=f"GiB over the batch, from the shapes alone; the dashed line is {limit}.",
            )
            for context in contexts
        ),
        *(_table(decoding, context) for context in contexts),
    ]
    where = "GPU" if decoding["device"] == "cuda" else f"CPU, {decoding['threads']} threads"
    lead = (
        f"The engine that serves and samples, with the shapes above, on this machine's {where}. "
        "Every new token of a sequence reads the keys and values of all tokens before it: the "
        "fewer heads they have, the less there is to read and to keep."
    )
    return Section("decoding", "Decoding", lead, blocks)


def _contexts(decoding: Json) -> list[int]:
    return sorted({point["context"] for point in decoding["points"]})


def _batches(decoding: Json) -> list[int]:
    return sorted({point["batch"] for point in decoding["points"]})


def _variants(decoding: Json) -> list[str]:
    return list(dict.fromkeys(point["variant"] for point in decoding["points"]))


def _speeds(decoding: Json, context: int) -> Markup:
    curves: list[Curve] = []
    for name in _variants(decoding):
        measured = [
            (float(batch), value)
            for batch in _batches(decoding)
            if (value := speed(decoding, name, context, batch)) is not None
        ]
        if measured:
            batches, rates = zip(*measured, strict=True)
            curves.append(Curve(batches, rates, LABELS[name], ROLES[name], has_markers=True))
    return draw_curves(curves, x="batch", y="tokens/s", is_log=True)


def _caches(decoding: Json, context: int, limit_gib: float) -> Markup:
    curves: list[Curve] = []
    batches = [float(batch) for batch in _batches(decoding)]
    for name in _variants(decoding):
        sizes = [
            point["cache_bytes"] / GIB
            for point in decoding["points"]
            if (point["variant"], point["context"]) == (name, context)
        ]
        curves.append(Curve(batches, sizes, LABELS[name], ROLES[name]))
    limit = [limit_gib] * len(batches)
    curves.append(Curve(batches, limit, role="soft", is_dashed=True))
    return draw_curves(curves, x="batch", y="GiB", is_log=True)


def _first_out(decoding: Json, context: int) -> str:
    """Such as: Memory ends first for MHA, at 1,024 sequences."""
    for batch in _batches(decoding):
        missing = [
            LABELS[name]
            for name in _variants(decoding)
            if speed(decoding, name, context, batch) is None
        ]
        if missing:
            return f"Memory ends first for {_joined(missing)}, at {batch:,} sequences."
    return "Here everything fits."


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _table(decoding: Json, context: int) -> Table:
    variants = _variants(decoding)
    rows: list[list[str | Cell]] = []
    for batch in _batches(decoding):
        base = speed(decoding, variants[0], context, batch)
        row: list[str | Cell] = [f"{batch:,}"]
        for name in variants:
            value = speed(decoding, name, context, batch)
            ratio = f"×{value / base:.2f}" if value and base and name != variants[0] else ""
            row.append("no room" if value is None else Cell(f"{value:,.0f}", ratio))
        row += [
            gib(point["cache_bytes"])
            for name in variants
            for point in decoding["points"]
            if (point["variant"], point["context"], point["batch"]) == (name, context, batch)
        ]
        rows.append(row)
    labels = [LABELS[name] for name in variants]
    return Table(
        title=f"Context {context:,}",
        head=["batch", *(f"{label}, tokens/s" for label in labels),
              *(f"{label}, cache" for label in labels)],
        rows=rows,
        look=f"Medians of {decoding['repeats']}; × is over MHA. Where there is no room, weights "
        f"and cache would pass {decoding['memory_gib']:g} GiB.",
        paper="Figure 24",
        is_wide=True,
    )  # fmt: skip
