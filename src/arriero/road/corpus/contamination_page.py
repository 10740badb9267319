"""The page of `arriero contamination`: Table 51 for one's own corpus, and what matched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arriero.road.report.blocks import Cell, Facts, Passage, Passages, Section, Table, Tile, TileRow
from arriero.road.report.drawing import SERIES
from arriero.road.report.folder import RunFolder
from arriero.road.report.page import render_page, write_page
from arriero.road.report.wording import MISSING, count, decimal, percent

Json = Mapping[str, Any]

_TITLES = {
    "clean": "Clean (below 20%)",
    "not clean": "Not clean (20% and above)",
    "not dirty": "Not dirty (below 80%)",
    "dirty": "Dirty (80% and above)",
}


def write_contamination_page(out: Path, results: Json) -> Path:
    """Write `report.html` into a folder; returns its path.

    Args:
        results: what stands in results.json.
    """
    rule, corpus = results["rule"], results["corpus"]
    page = render_page(
        RunFolder(out.resolve().name, {}, "", ()),
        about="contamination of evaluation sets",
        facts=[
            ("corpus", corpus["name"]),
            ("tokens", count(corpus["tokens"])),
            ("evaluation sets", str(len(results["sets"]))),
            ("shortest match", " and ".join(map(str, rule["min_lengths"]))),
        ],
        milestones=[],
        tiles=[_tile(name, figures) for name, figures in list(results["sets"].items())[:8]],
        sections=[*_figures_sections(results), _shown_section(results)],
    )
    return write_page(out / "report.html", page)


def _tile(name: str, figures: Json) -> Tile:
    """The share of samples that are not clean, and of the other subsets, at the first length."""
    length, first = next(iter(figures["lengths"].items()))
    subsets, total = first["subsets"], figures["samples"]
    unclean = subsets["not clean"]["n"]
    rows = [
        TileRow(label, percent(share), SERIES[place], share, None, None)
        for place, (label, share) in enumerate(
            (
                ("with any match", first["with_match"] / total),
                ("dirty", subsets["dirty"]["n"] / total),
                ("of all tokens", first["tokens_contaminated"] / max(1, figures["tokens"])),
            )
        )
    ]
    return Tile(
        f"Not clean, {name}",
        percent(unclean / total),
        f"{unclean:,} of {total:,} samples have 20% or more, matches of {length} tokens or more",
        "lower is better",
        rows,
    )


def _figures_sections(results: Json) -> list[Section]:
    with_metric = any(figures["metric"] is not None for figures in results["sets"].values())
    head = ["data set", "subset", "n", "avg. contamination"]
    head += ["mean metric", "μₙ", "σₙ", "Zₙ", "affected"] if with_metric else []
    drawn = "with" if results["rule"]["replacement"] else "without"
    look = (
        "n: samples of the subset; avg. contamination: their average share of contaminated tokens."
    )
    if with_metric:
        sign = "above" if results["rule"]["higher_is_better"] else "below"
        look += (
            f" μₙ and σₙ: mean and deviation of the mean metric of n samples drawn {drawn} "
            "replacement. Zₙ = (mean − μₙ) / σₙ. A set is affected when |Zₙ| > 2 for all four, "
            f"clean and not dirty on one side, not clean and dirty {sign} what is expected."
        )
    else:
        look += " Without a metric (--metric) there are shares and no Z."
    table = Table(
        title="Subsets by contamination",
        head=head,
        rows=list(_subset_rows(results, with_metric)),
        look=look,
        paper="Table 51",
        is_wide=True,
        num_names=2,
    )
    rule = results["rule"]
    lead = (
        "A token of a sample is contaminated if it lies in a match with a document of the corpus: "
        f"the first {rule['exact_prefix']} tokens the same, at most {rule['budget']} different "
        "ones after them, the last one the same again."
    )
    overview = Table(
        title="Evaluation sets",
        head=["data set", "samples", "empty", "too short to match", "tokens", "contaminated tokens",
              "samples with a match", "longest match"],
        rows=list(_set_rows(results)),
        look="At the smallest length of a match. A match is as long as all its tokens, those that "
        "differ counted.",
        is_wide=True,
    )  # fmt: skip
    corpus = results["corpus"]
    facts = Facts(
        [
            ("tokens of the corpus", count(corpus["tokens"])),
            ("documents", count(corpus["documents"])),
            ("token folders", count(len(corpus["folders"]))),
        ]
    )
    return [
        Section("figures", "Contamination", lead, [facts, table]),
        Section("sets", "Evaluation sets", "What was looked up.", [overview]),
    ]


def _subset_rows(results: Json, with_metric: bool) -> Iterator[list[str | Cell]]:
    for name, figures in results["sets"].items():
        for length, found in figures["lengths"].items():
            for place, (subset, row) in enumerate(found["subsets"].items()):
                cells: list[str | Cell] = [
                    f"{name} (L = {length})" if place == 0 else "",
                    _TITLES[subset],
                    count(row["n"]),
                    percent(row["contamination"]),
                ]
                if with_metric:
                    z = row["z"]
                    shade = None if z is None or abs(z) <= 2 else min(1.0, abs(z) / 10)
                    cells += [
                        decimal(row["mean"]),
                        decimal(row["mu_n"]),
                        decimal(row["sigma_n"]),
                        Cell(MISSING if z is None else f"{z:.2f}".replace("-", "−"), shade=shade),
                        _affected(found["affected"]) if place == 0 else "",
                    ]
                yield cells


def _affected(value: bool | None) -> str:
    return MISSING if value is None else "yes" if value else "no"


def _set_rows(results: Json) -> Iterator[list[str | Cell]]:
    for name, figures in results["sets"].items():
        found = next(iter(figures["lengths"].values()))
        yield [
            name,
            count(figures["samples"]),
            count(figures["empty"]),
            count(figures["too_short"]),
            count(figures["tokens"]),
            percent(found["tokens_contaminated"] / max(1, figures["tokens"])),
            count(found["with_match"]),
            f"{figures['longest']:,}",
        ]


def _shown_section(results: Json) -> Section:
    passages = [
        Passage(
            f"{shown['dataset']} · {shown['id']}",
            [
                f"{percent(shown['share'])} of {shown['tokens']:,} tokens",
                f"match of {shown['match']['length']:,} tokens",
                f"{len(shown['match']['different'])} different",
            ],
            [
                ("the sample", shown["sample"]),
                (
                    f"{shown['match']['folder']} · document {shown['match']['document']} · "
                    f"from token {shown['match']['place']:,}",
                    shown["corpus"],
                ),
            ],
        )
        for shown in results["shown"]
    ]
    if not passages:
        return Section("matches", "What matched", "No sample has a match in this corpus.", [])
    block = Passages(
        title="The most contaminated samples",
        passages=passages,
        look="The longest match of each: blue is the same on both sides, red differs, grey lies "
        "around it.",
    )
    lead = "All matches of all samples stand in samples.jsonl."
    return Section("matches", "What matched", lead, [block])
