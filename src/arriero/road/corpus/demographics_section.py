"""The corpus report's sections of Tables 9a and 9b and Figure 13: who is named, and how toxic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arriero.corpus.analyses.demographics import TOP
from arriero.road.corpus.paper_values import IDENTITIES, PRONOUNS, TOXIC
from arriero.road.report.blocks import Block, Cell, Facts, Figure, Section, Table
from arriero.road.report.drawing import draw_histograms
from arriero.road.report.wording import MISSING, count, percent

Json = Mapping[str, Any]

_GENDERS = {
    "gendered": "any gendered pronoun",
    "she": "She: she, her, hers, herself",
    "he": "He: he, him, his, himself",
    "unspecified": "Unspecified: they, them, their, …",
}
_PERSONS = {
    "any": "any pronoun",
    "first": "1st: I, me, my, we, us, our, …",
    "second": "2nd: you, your, yours, …",
    "third": "3rd: it, its, she, he, they, …",
}


def pronouns_section(figures: Json) -> Section:
    """Table 9a for one's own corpus."""
    pronouns, how = figures["total"]["pronouns"], figures["how"]["pronouns"]
    english = figures["total"]["english"]["documents"]
    blocks: list[Block] = [
        Table(
            title="Gender pronouns",
            head=["pronouns", "documents", "share", "in the paper"],
            rows=[_pronoun_row(name, label, pronouns) for name, label in _GENDERS.items()],
            look="The first row as a share of the English documents, the others of the documents "
            "of the first row.",
            paper="Table 9a",
        ),
        Table(
            title="Grammatical person",
            head=["pronouns", "documents", "share", "in the paper"],
            rows=[_pronoun_row(name, label, pronouns) for name, label in _PERSONS.items()],
            look="The first row as a share of the English documents, the others of the documents "
            "of the first row. US, IT and ME in capitals are no pronouns.",
            paper="Table 9a",
        ),
    ]
    lead = (
        f"In {count(english)} English documents, each once, however often the mix repeats it. "
        f"List: {how['name']}."
    )
    return Section("pronouns", "Pronouns", lead, blocks)


def _pronoun_row(name: str, label: str, pronouns: Json) -> list[str | Cell]:
    row = pronouns[name]
    return [label, count(row["documents"]), percent(row["share"], 2), percent(PRONOUNS[name], 2)]


def identities_section(figures: Json) -> Section:
    """Table 9b for one's own corpus, an axis a table."""
    how, total = figures["how"]["terms"], figures["total"]
    blocks: list[Block] = [_axis(axis, row) for axis, row in total["identities"].items()]
    notes = [f"List: {how['name']}. A term counts once a document, in any capitals."]
    if how["ambiguous"]:
        notes.append(
            f"Left out, as they often mean something else: {_listed(how['ambiguous'])}. The paper "
            "leaves them out of the five terms that it shows; the share of an axis may hold them."
        )
    if how["duplicates"]:
        notes.append(
            "On several axes in the list, counted on the one with the fewest terms: "
            f"{_listed(sorted({term for term, _ in how['duplicates']}))}."
        )
    notes.append(
        "Words are counted, not what they mean: in old books gay and queer say something else. "
        "Small lists find less than large ones, so compare with care."
    )
    return Section("identities", "Identity terms", " ".join(notes), blocks)


def _axis(axis: str, row: Json) -> Table:
    paper_share, paper_terms = IDENTITIES.get(axis, (None, {}))
    rows: list[list[str | Cell]] = [
        [
            each["term"],
            count(each["documents"]),
            percent(each["share"]),
            percent(paper_terms.get(each["term"])),
        ]
        for each in row["terms"][:TOP]
    ]
    title = axis.replace("_", " ").capitalize()
    there = f", {percent(paper_share, 2)} in the paper" if paper_share is not None else ""
    theirs = ", ".join(f"{term} {percent(value)}" for term, value in paper_terms.items())
    return Table(
        title=f"{title}: {percent(row['share'], 2)} of the English documents{there}",
        head=["term", "documents", "share", "in the paper"],
        rows=rows or [["none was found", MISSING, MISSING, MISSING]],
        look=f"The {TOP} most frequent of {row['terms_looked_for']} terms, as shares of the "
        f"{count(row['documents'])} documents that mention any."
        + (f" The paper's: {theirs}." if theirs else ""),
        paper="Table 9b",
    )


def toxicity_section(figures: Json) -> Section:
    """Figure 13 for one's own corpus, or how to have it."""
    how, row = figures["how"]["toxicity"], figures["total"]["toxicity"]
    title = "Toxicity"
    if how is None or row is None:
        lead = (
            "Not measured: no classifier was named. Give one with --toxicity: the folder of a "
            "Hugging Face sequence classifier, or a file of `arriero corpus train-toxicity`."
        )
        return Section("toxicity", title, lead, [])
    about = f" ({how['about']})" if how["about"] else ""
    lead = (
        f"Measured, never filtered. Each line is scored by {how['classifier']}{about}; a document "
        f"has the mean of its lines. Looked at: {count(row['documents'])} documents, a sample of "
        f"{percent(how['sample'], 0)} of the English ones, with {count(row['lines'])} lines."
    )
    if row["lines_without_a_number"] or row["documents_without_a_score"]:
        lead += (
            f" The classifier gave no number for {count(row['lines_without_a_number'])} lines; "
            f"{count(row['documents_without_a_score'])} documents have no score."
        )
    blocks: list[Block] = [
        Facts(
            [
                ("at 0.5 or above", f"{percent(row['share'], 2)} ({count(row['toxic'])})"),
                ("in the paper", f"about {percent(TOXIC)}"),
                ("mean score", percent(row["mean"], 2)),
            ]
        ),
        Figure(
            title="Documents by their score",
            svg=draw_histograms(
                row["edges"],
                {"documents": row["histogram"]},
                roles=["blue"],
                x="toxicity score",
                is_log=True,
            ),
            look="Share of the sampled documents, on a logarithmic axis. The paper used "
            "HateBERT tuned on ToxiGen; another classifier has another scale, so compare "
            "shapes more than figures.",
            paper="Figure 13",
        ),
        _toxicity_by_source(figures),
    ]
    return Section("toxicity", title, lead, blocks)


def _toxicity_by_source(figures: Json) -> Table:
    def rows() -> Iterator[list[str | Cell]]:
        for name, source in figures["sources"].items():
            row = source["toxicity"]
            yield [name, count(row["documents"]), percent(row["share"], 2), percent(row["mean"], 2)]

    return Table(
        title="Toxicity by source",
        head=["source", "documents looked at", "at 0.5 or above", "mean score"],
        rows=list(rows()),
        look="Few documents give a rough share.",
    )


def _listed(words: list[str]) -> str:
    return ", ".join(words)
