"""The page of `arriero corpus report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arriero.corpus.reading import PAGE
from arriero.road.corpus.demographics_section import (
    identities_section,
    pronouns_section,
    toxicity_section,
)
from arriero.road.corpus.language_section import language_section
from arriero.road.corpus.paper_values import LANGUAGES, PRONOUNS, TOXIC
from arriero.road.corpus.sources_section import removed_sections, sources_section
from arriero.road.report.blocks import Cell, Section, Table, Tile, TileRow
from arriero.road.report.drawing import SERIES
from arriero.road.report.folder import RunFolder
from arriero.road.report.page import render_page, write_page
from arriero.road.report.wording import MISSING, count, duration, percent

Json = Mapping[str, Any]


def write_corpus_page(corpus: Path, figures: Json, seconds: Mapping[str, float]) -> Path:
    """Write `report.html` into a corpus's folder; returns its path.

    Args:
        figures: what stands in analyses.json.
        seconds: how long each analysis took.
    """
    sizes = figures["total"]["sizes"]
    page = render_page(
        RunFolder(corpus.resolve().name, {}, "", ()),
        about="report of a corpus",
        facts=[
            ("documents", count(sizes["documents"])),
            ("tokens", count(sizes["tokens"])),
            ("characters", count(sizes["characters"])),
            ("sources", str(len(figures["sources"]))),
            ("build", figures["corpus"][:12]),
        ],
        milestones=[],
        tiles=list(_tiles(figures)),
        sections=[
            sources_section(figures),
            *removed_sections(figures),
            language_section(figures),
            pronouns_section(figures),
            identities_section(figures),
            toxicity_section(figures),
            _identifiers_section(figures),
            _how_section(figures, seconds),
        ],
    )
    return write_page(corpus / PAGE, page)


def _tiles(figures: Json) -> Iterator[Tile]:
    """Shares beside the paper's, each with what it is a share of."""
    total = figures["total"]
    english = total["english"]["share"]
    yield _tile("English", english, "documents", LANGUAGES["en"], "Table 10")
    any_of, she = total["pronouns"]["any"], total["pronouns"]["she"]
    yield _tile(
        "With any pronoun", any_of["share"], "English documents", PRONOUNS["any"], "Table 9a"
    )
    gendered = "English documents with a gendered pronoun"
    yield _tile("With She pronouns", she["share"], gendered, PRONOUNS["she"], "Table 9a")
    if toxicity := total["toxicity"]:
        sampled = "English documents looked at"
        yield _tile("Toxic at 0.5 or above", toxicity["share"], sampled, TOXIC, "Figure 13")


def _tile(title: str, share: float | None, base: str, paper: float, where: str) -> Tile:
    rows = [
        TileRow("this corpus", percent(share, 2), SERIES[0], share or 0.0, None, None),
        TileRow(f"the paper, {where}", percent(paper, 2), SERIES[1], paper, None, None),
    ]
    return Tile(title, percent(share, 2), f"of the {base}", "", rows)


def _identifiers_section(figures: Json) -> Section:
    sources = figures["sources"]
    found = {name: source["build"]["identifiers"] for name, source in sources.items()}
    masked = {name: source["build"]["masked"] for name, source in sources.items()}
    kinds = list(dict.fromkeys(kind for by_kind in found.values() for kind in by_kind))
    title = "Personal identifiers"
    if not kinds:
        return Section("identifiers", title, "The build counted none of any kind.", [])
    rows: list[list[str | Cell]] = [
        [name, *(_identifiers(by_kind.get(kind), masked[name].get(kind)) for kind in kinds)]
        for name, by_kind in found.items()
    ]
    table = Table(
        title="Found by pattern",
        head=["source", *kinds],
        rows=rows,
        look="How often; in small print in how many documents, and in how many it was masked. "
        "Patterns find what has the shape of an identifier; they cannot know whose it is. The "
        "paper leaves out whole sites that are known to hold much of it.",
        paper="Section 4.1",
        is_wide=True,
    )
    lead = "Counted by the build in documents that passed its quality rules, before any masking."
    return Section("identifiers", title, lead, [table])


def _identifiers(row: Json | None, masked: int | None) -> str | Cell:
    if row is None:
        return MISSING
    number = row.get("documents", 0)
    small = f"{count(number)} {'document' if number == 1 else 'documents'}"
    return Cell(
        count(row.get("found", 0)), small + (f", masked in {count(masked)}" if masked else "")
    )


def _how_section(figures: Json, seconds: Mapping[str, float]) -> Section:
    how = figures["how"]
    language, terms, pronouns = how["language"], how["terms"], how["pronouns"]
    notes = {
        "language": f"{language['model']}, threshold {language['threshold']:g}, on an excerpt of "
        "at most 1,200 characters; code by the look of its lines",
        "pronouns": f"{pronouns['name']} ({pronouns['sha256'][:12]})",
        "identity terms": f"{terms['name']} ({terms['sha256'][:12]})",
        "length and compression": "all documents",
        "reading": "documents, decompressed",
        "words": "of the English documents",
    }
    if toxicity := how["toxicity"]:
        notes["toxicity"] = (
            f"{toxicity['classifier']}, sample of {percent(toxicity['sample'], 0)}, "
            f"seed {toxicity['seed']}"
        )
    rows: list[list[str | Cell]] = [
        [step, notes.get(step, ""), duration(spent)]
        for step, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    whole = sum(seconds.values())
    table = Table(
        title="Analyses and their time",
        head=["analysis", "with what", "time"],
        rows=[*rows, ["all", "", duration(whole)]],
        look="Time summed over processes. All analyses see a document in one pass.",
        has_total=True,
        is_wide=True,
        num_names=2,
    )
    lead = "Lists, models and thresholds decide what is found. These are the ones of this page."
    return Section("how", "How it was measured", lead, [table])
