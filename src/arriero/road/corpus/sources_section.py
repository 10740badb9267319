"""The corpus report's sections of sources and rules: sizes, weights, the funnel, examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arriero.road.report.blocks import (
    Bar,
    Bars,
    Block,
    Cell,
    Sample,
    Samples,
    Section,
    Segment,
    Table,
)
from arriero.road.report.wording import MISSING, count, decimal, percent

Json = Mapping[str, Any]


def sources_section(figures: Json) -> Section:
    """Documents, tokens, length and compression of each source; shares against their targets."""
    sources = figures["sources"]
    rows: list[list[str | Cell]] = [
        _size_row(name, source["sizes"]) for name, source in sources.items()
    ]
    blocks: list[Block] = [
        Table(
            title="What stayed",
            head=["source", "documents", "characters", "tokens", "characters a document",
                  "bytes a token", "compression"],
            rows=[*rows, _size_row("all", figures["total"]["sizes"])],
            look="Each document once, before weighting. Tokens with the marks at a document's "
            "beginning and end. Compression: bytes of the text over bytes after zstd at level 3, "
            "each document by itself; much above the others' hints at repetition, near 1 at noise.",
            has_total=True,
            is_wide=True,
        )
    ]  # fmt: skip
    blocks += _weights(sources)
    blocks.append(_lengths(figures["total"]["sizes"]["lengths"]))
    lead = "Sources as the recipe names them."
    return Section("sources", "Sources", lead, blocks)


def _size_row(name: str, row: Json) -> list[str | Cell]:
    return [
        name,
        count(row["documents"]),
        count(row["characters"]),
        count(row["tokens"]),
        count(row["characters_per_document"]),
        decimal(row["bytes_per_token"]),
        decimal(row["compression"]),
    ]


def _weights(sources: Json) -> Iterator[Block]:
    builds = {name: source["build"] for name, source in sources.items()}
    unit = "Characters" if any(build["tokens"] is None for build in builds.values()) else "Tokens"
    if any(build["reached"] is None for build in builds.values()) or not builds:
        return
    bars = [
        Bar(
            name,
            [Segment("share", build["reached"], "blue")],
            f"{percent(build['reached'])} of the mix"
            + ("" if build["target"] is None else f" · target {percent(build['target'])}")
            + ("" if build["epochs"] is None else f" · read {decimal(build['epochs'])} times"),
        )
        for name, build in builds.items()
    ]
    yield Bars(
        title="Share of the mix after weighting",
        bars=bars,
        look=f"{unit} of each source in the mix that a model reads. The paper samples the most "
        "factual sources more often and does not name their shares.",
        paper="Section 2.1",
    )


def _lengths(lengths: list[int]) -> Bars:
    """A bar for each doubling of the length: place d holds those of d binary digits."""
    first = next((place for place, number in enumerate(lengths) if number), 0)
    total, most = max(1, sum(lengths)), max(1, *lengths, 1)
    bars = [
        Bar(
            f"{1 << (digits - 1):,} to {(1 << digits) - 1:,} characters" if digits else "empty",
            [Segment("documents", number / most, "blue")],
            f"{count(number)} · {percent(number / total)}",
        )
        for digits, number in enumerate(lengths)
        if digits >= first
    ]
    return Bars(
        title="Documents by length",
        bars=bars,
        look="Each class is twice as long as the one before; the fullest takes the whole width.",
    )


def removed_sections(figures: Json) -> list[Section]:
    """The funnel, losses by source and rule, and examples of what each rule removed."""
    removed, kept = figures["removed"], figures["total"]["sizes"]["documents"]
    total = kept + sum(row["documents"] for row in removed.values())
    lead = (
        f"Of {count(total)} documents {count(kept)} stayed. Nothing was removed for its toxicity."
    )
    if withdrawn := sum(source["build"]["withdrawn"] for source in figures["sources"].values()):
        lead += f" {count(withdrawn)} were withdrawn, and are in none of these figures."
    blocks: list[Block] = [_funnel(removed, total), _losses(figures)]
    bad = _bad_input(figures["sources"])
    blocks += _changed(figures["sources"])
    sections = [Section("removed", "What was removed", lead, [*blocks, *bad])]
    if figures["examples"]:
        sections.append(_examples(figures["examples"]))
    return sections


def _funnel(removed: Json, total: int) -> Bars:
    left = total
    bars = [Bar("read", _segments(total, 0, total), count(total))]
    for rule, row in removed.items():
        left -= row["documents"]
        share = row["documents"] / max(1, total)
        note = f"−{count(row['documents'])} ({percent(share, 2)})"
        bars.append(Bar(rule, _segments(left, row["documents"], total), note))
    bars.append(Bar("kept", _segments(left, 0, total), count(left)))
    return Bars(
        title="From what was read to what stayed",
        bars=bars,
        look="Documents. Each bar is what is left after a rule, and what that rule removed. "
        "Rules stand in the order in which they are asked; the first to object removes a document.",
    )


def _segments(left: int, gone: int, total: int) -> list[Segment]:
    whole = max(1, total)
    segments = [Segment("left", left / whole, "blue")]
    return [*segments, Segment("removed here", gone / whole, "vermilion")] if gone else segments


def _losses(figures: Json) -> Table:
    sources = figures["sources"]
    rows: list[list[str | Cell]] = [
        [rule, count(row["documents"]), count(row["characters"]),
         *(_loss(source, rule) for source in sources.values())]
        for rule, row in figures["removed"].items()
    ]  # fmt: skip
    kept: list[str | Cell] = [
        "kept",
        count(figures["total"]["sizes"]["documents"]),
        count(figures["total"]["sizes"]["characters"]),
        *(count(source["sizes"]["documents"]) for source in sources.values()),
    ]
    return Table(
        title="Losses by rule and source",
        head=["rule", "documents", "characters", *sources],
        rows=[*rows, kept],
        look="By source documents; in small print the share of the source's documents.",
        has_total=True,
        is_wide=True,
    )


def _loss(source: Json, rule: str) -> str | Cell:
    removed = source["removed"]
    if rule not in removed:
        return MISSING
    total = source["sizes"]["documents"] + sum(row["documents"] for row in removed.values())
    return Cell(
        count(removed[rule]["documents"]), percent(removed[rule]["documents"] / max(1, total), 2)
    )


def _changed(sources: Json) -> Iterator[Table]:
    rows: list[list[str | Cell]] = [
        [name, rule, count(number)]
        for name, source in sources.items()
        for rule, number in source["build"]["changed"].items()
    ]
    if rows:
        yield Table(
            title="Documents that were changed",
            head=["source", "by", "documents"],
            rows=rows,
            look="Normalised or masked, and kept unless another rule removed them.",
            num_names=2,
        )


def _bad_input(sources: Json) -> Iterator[Table]:
    rows: list[list[str | Cell]] = [
        [name, reason, count(number)]
        for name, source in sources.items()
        for reason, number in source["build"]["bad"].items()
    ]
    if rows:
        yield Table(
            title="Input of no use",
            head=["source", "reason", "how often"],
            rows=rows,
            look="Files and rows that never became documents.",
            num_names=2,
        )


def _by_turns(examples: Json) -> list[tuple[str, Json]]:
    """One of each rule, then the second of each; those without a text at the end.

    The page shows the first few and folds the others away: there should be something to read.
    """
    turns = [
        (not shown["text"], turn, rule, shown)
        for rule, drawn in examples.items()
        for turn, shown in enumerate(drawn)
    ]
    return [(rule, shown) for _, _, rule, shown in sorted(turns, key=lambda each: each[:2])]


def _examples(examples: Json) -> Section:
    samples = [
        Sample(
            prompt=[
                (
                    f"{rule} · {shown['source']} · {shown['where']}",
                    shown["text"] or "(no text is kept of it)",
                )
            ],
            answers=[],
            tags=[shown["detail"]] if shown["detail"] else [],
        )
        for rule, shown in _by_turns(examples)
    ]
    block = Samples(
        title="Examples",
        samples=samples,
        look="Up to three of each rule, drawn at random by their ids; the first 400 characters. "
        "They are as they were found: some may offend.",
    )
    lead = "Read some before trusting a rule."
    return Section("examples", "Examples of what was removed", lead, [block])
