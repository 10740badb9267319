"""The report of `arriero ablate attention`, in the manner of a run's report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arriero.road.ablation.context_section import context_section
from arriero.road.ablation.decoding_section import decoding_section, largest_common, speed
from arriero.road.ablation.memory_section import memory_section
from arriero.road.ablation.naming import (
    HALF,
    LABELS,
    ROLES,
    change,
    difference_cell,
    loss,
    seed_range,
    signed,
)
from arriero.road.report.blocks import Block, Cell, Figure, Milestone, Section, Table, Tile, TileRow
from arriero.road.report.costs import costs_section
from arriero.road.report.drawing import (
    SERIES,
    Curve,
    Interval,
    draw_curves,
    draw_intervals,
    smoothed,
)
from arriero.road.report.folder import RunFolder, StageFolder, read_run
from arriero.road.report.page import render_page, run_facts, write_page
from arriero.road.report.wording import count, duration

_ATTENTION = ("mha", "gqa-8", "mqa")
_LOWER = "lower is better"

Json = Mapping[str, Any]


def write_attention_report(run: Path, names: Collection[str], results: Json) -> Path:
    """Write `report.html` into the folder of an ablation; returns its path.

    Args:
        names: folders of the steps that belong to it.
        results: what stands in results.json.
    """
    folder = read_run(run)
    stages = [stage for stage in folder.stages if _belongs(stage, names)]
    folder = replace(folder, stages=tuple(stages))
    sections = [
        _attention_section(folder, results),
        decoding_section(results),
        memory_section(results["paper"]),
        context_section(results),
        costs_section(folder),
    ]
    page = render_page(
        folder,
        about="ablation of attention and context",
        facts=[*run_facts(folder), ("seeds", str(results["seeds"]))],
        milestones=_milestones(folder),
        tiles=_tiles(results),
        sections=[section for section in sections if section is not None],
    )
    return write_page(run / "report.html", page)


def _belongs(stage: StageFolder, names: Collection[str]) -> bool:
    suffix = "-".join(part for part in (stage.kind, stage.name) if part)
    return f"{stage.number:02d}-{suffix}" in names


def _variant_of(stage: StageFolder) -> str:
    return stage.name.rpartition("-seed")[0]


def _by_name(results: Json) -> dict[str, Json]:
    return {variant["name"]: variant for variant in results["variants"]}


def _milestones(run: RunFolder) -> list[Milestone]:
    """The steps in order, all seeds of a model as one."""
    seconds: dict[str, float] = {}
    for stage in run.stages:
        label = stage.label if stage.kind != "train" else LABELS[_variant_of(stage)]
        seconds[label] = seconds.get(label, 0.0) + (stage.seconds or 0.0)
    whole = sum(seconds.values()) or 1.0
    section = {"decoding": "decoding", LABELS[HALF]: "context"}
    section |= {LABELS[name]: "attention" for name in _ATTENTION}
    return [
        Milestone(label, duration(spent), spent / whole, True, section.get(label, ""))
        for label, spent in seconds.items()
    ]


def _tiles(results: Json) -> list[Tile]:
    return [
        _loss_tile(results),
        _cache_tile(results),
        *_speed_tile(results["decoding"]),
        _context_tile(results),
    ]


def _loss_tile(results: Json) -> Tile:
    variants = _by_name(results)
    losses = {name: variants[name]["long_loss"]["mean"] for name in _ATTENTION}
    most = max(losses.values())
    rows = [
        TileRow(LABELS[name], loss(value), ROLES[name], value / most, None, None)
        for name, value in losses.items()
    ]
    note = f"MHA, held-out text, {_mean_of(results)}"
    return Tile("Loss at equal size", loss(losses["mha"]), note, _LOWER, rows)


def _cache_tile(results: Json) -> Tile:
    heads = {name: variant["num_kv_heads"] for name, variant in _by_name(results).items()}
    sizes = {
        point["variant"]: point["cache_bytes"] / point["batch"] / point["context"]
        for point in results["decoding"]["points"]
    }
    rows = [
        TileRow(
            f"{LABELS[name]}, {heads[name]} heads",
            f"{sizes[name]:,.0f} B",
            ROLES[name],
            sizes[name] / sizes["mha"],
            None,
            None,
        )
        for name in _ATTENTION
    ]
    value = f"{sizes['mha'] / sizes['mqa']:.0f}×"
    return Tile("Cache of a token", value, "less with MQA than with MHA", _LOWER, rows)


def _speed_tile(decoding: Json) -> list[Tile]:
    place = largest_common(decoding)
    if place is None:
        return []
    context, batch = place
    speeds = {name: speed(decoding, name, context, batch) or 0.0 for name in _ATTENTION}
    most = max(speeds.values())
    rows = [
        TileRow(LABELS[name], f"{value:,.0f}/s", ROLES[name], value / most, None, None)
        for name, value in speeds.items()
    ]
    note = f"MQA over MHA: {batch} sequences, context {context:,}"
    value = f"{speeds['mqa'] / speeds['mha']:.2f}×"
    return [Tile("Decoded tokens", value, note, "higher is better", rows)]


def _context_tile(results: Json) -> Tile:
    beyond = [row for row in results["positions"] if row["from"] > results["context"] // 2]
    losses = {
        name: sum(row[key] for row in beyond) / len(beyond)
        for name, key in ((HALF, "half"), ("mha", "whole"))
    }
    rows = [
        TileRow(
            f"context {results['context'] // (2 if name == HALF else 1):,}",
            loss(value),
            ROLES[name],
            value / max(losses.values()),
            None,
            None,
        )
        for name, value in losses.items()
    ]
    gain = losses["mha"] - losses[HALF]
    note = f"loss past position {results['context'] // 2:,} with the whole context"
    return Tile("Longer context", signed(gain), note, _LOWER, rows)


def _mean_of(results: Json) -> str:
    seeds = results["seeds"]
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"


def _attention_section(run: RunFolder, results: Json) -> Section:
    variants = _by_name(results)
    blocks: list[Block] = [_variants_table(results), _loss_figure(results)]
    if results["seeds"] > 1:
        blocks.append(_difference_figure(variants, results))
    blocks.append(_curves_figure(run))
    lead = (
        f"Three models of {count(variants['mha']['parameters'])} parameters learn from the same "
        f"{count(results['tokens'])} tokens in the same order. What fewer key/value heads save "
        "goes into the feed-forward network, so none is smaller than another."
    )
    return Section("attention", "Attention at equal size", lead, blocks)


def _variants_table(results: Json) -> Table:
    variants = _by_name(results)
    best = min(variants[name]["long_loss"]["mean"] for name in _ATTENTION)
    rows: list[list[str | Cell]] = []
    for name in _ATTENTION:
        variant = variants[name]
        long, short = variant["long_loss"], variant["short_loss"]
        rows.append(
            [
                LABELS[name],
                f"{variant['num_heads']} / {variant['num_kv_heads']}",
                Cell(f"{variant['ffn_dim']:,}", f"×{variant['ffn_ratio']:.3f}"),
                Cell(f"{variant['parameters']:,}", _size(name, variant["size_ratio"])),
                Cell(loss(long["mean"]), seed_range(long), is_best=long["mean"] == best),
                "–" if name == "mha" else difference_cell(long["minus_mha"]),
                Cell(loss(short["mean"]), seed_range(short)),
            ]
        )
    return Table(
        title="Three ways to share keys and values",
        head=[
            "attention",
            "query / kv heads",
            "feed-forward width",
            "parameters",
            "loss, long documents",
            "minus MHA, by seed",
            "loss, short documents",
        ],
        rows=rows,
        look=_verdict(variants, results),
        paper="Table 18",
        is_wide=True,
    )


def _verdict(variants: Mapping[str, Json], results: Json) -> str:
    """The paired statement in words."""
    if results["seeds"] == 1:
        return (
            "Nats a token on documents that no model has seen. One seed: how much of a difference "
            "is chance is not known; say --seeds 3."
        )
    said: list[str] = []
    for name in _ATTENTION[1:]:
        difference = variants[name]["long_loss"]["minus_mha"]
        low, high = difference["low"], difference["high"]
        if low <= 0 <= high:
            said.append(f"{LABELS[name]} cannot be told from MHA")
        else:
            said.append(f"{LABELS[name]} is {'worse' if low > 0 else 'better'} than MHA")
    return (
        "Nats a token on documents that no model has seen; below it the least and the most of "
        f"{results['seeds']} seeds. Differences are taken seed by seed, on the same data in the "
        f"same order, with a 95% interval by Student's t: {' and '.join(said)}. The paper found "
        "GQA as good as MHA on average and MQA a little behind."
    )


def _size(name: str, ratio: float) -> str:
    return "the size to reach" if name == "mha" else change(ratio - 1, 2)


def _loss_figure(results: Json) -> Figure:
    variants = _by_name(results)
    seeds = range(results["seeds"])
    series: dict[str, Sequence[Interval | None]] = {
        f"seed {results['seed'] + seed}": [
            (variants[name]["long_loss"]["seeds"][seed], None, None) for name in _ATTENTION
        ]
        for seed in seeds
    }
    roles = [SERIES[seed % len(SERIES)] for seed in seeds]
    return Figure(
        title="Loss of every training",
        svg=draw_intervals(
            [LABELS[name] for name in _ATTENTION],
            series,
            roles=roles,
            x="loss a token, long documents",
            is_percent=False,
        ),
        look="Each mark is one model. Where a seed's marks keep their order from row to row, the "
        "order of the rows is no accident.",
    )


def _difference_figure(variants: Mapping[str, Json], results: Json) -> Figure:
    names = _ATTENTION[1:]
    kinds = {"long documents": "long_loss", "short documents": "short_loss"}
    series: dict[str, Sequence[Interval | None]] = {
        label: [_interval(variants[name][kind]["minus_mha"]) for name in names]
        for label, kind in kinds.items()
    }
    return Figure(
        title="Difference from MHA",
        svg=draw_intervals(
            [LABELS[name] for name in names],
            series,
            roles=("blue", "amber"),
            x="loss minus that of MHA, same seed",
            reference=0.0,
            is_percent=False,
        ),
        look=f"Mean and 95% interval over {results['seeds']} seeds; an interval across the line "
        "says that the difference may be chance.",
    )


def _interval(difference: Json) -> Interval:
    return difference["value"], difference["low"], difference["high"]


def _curves_figure(run: RunFolder) -> Figure:
    curves: list[Curve] = []
    for stage in run.of("train"):
        name = _variant_of(stage)
        if name in _ATTENTION and LABELS[name] not in [curve.label for curve in curves]:
            steps, losses = stage.series("step", "loss")
            curves.append(Curve(steps, smoothed(losses), LABELS[name], ROLES[name]))
    return Figure(
        title="Training loss",
        svg=draw_curves(curves, x="step", y="loss a token"),
        look="The first seed of each, smoothed. The same batches, so the same bumps.",
        paper="Figure 5",
    )
