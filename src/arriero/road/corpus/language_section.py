"""The corpus report's section of languages: Table 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arriero.corpus.analyses.language import CODE, UNKNOWN
from arriero.road.corpus.paper_values import LANGUAGES
from arriero.road.report.blocks import Cell, Section, Table
from arriero.road.report.wording import MISSING, count, percent

Json = Mapping[str, Any]

_NAMES = {
    "en": "English", "de": "German", "fr": "French", "sv": "Swedish", "zh": "Chinese",
    "es": "Spanish", "ru": "Russian", "nl": "Dutch", "it": "Italian", "ja": "Japanese",
    "pl": "Polish", "pt": "Portuguese", "vi": "Vietnamese", "uk": "Ukrainian", "ko": "Korean",
    "ca": "Catalan", "sr": "Serbian", "id": "Indonesian", "cs": "Czech", "fi": "Finnish",
    "hu": "Hungarian", "no": "Norwegian", "ro": "Romanian", "bg": "Bulgarian", "da": "Danish",
    "sl": "Slovenian", "hr": "Croatian", "la": "Latin", "ar": "Arabic", "hi": "Hindi",
    "tr": "Turkish", "el": "Greek", "he": "Hebrew", "fa": "Persian",
}  # fmt: skip


def language_section(figures: Json) -> Section:
    """Table 10 for one's own corpus, by source."""
    how, found = figures["how"]["language"], figures["total"]["languages"]
    sources = figures["sources"]
    shares = {
        name: {row["language"]: row["share"] for row in source["languages"]["languages"]}
        for name, source in sources.items()
    }
    rows: list[list[str | Cell]] = [
        [
            _named(row["language"]),
            count(row["documents"]),
            percent(row["share"], 2),
            percent(LANGUAGES.get(row["language"]), 2),
            *(percent(by_language.get(row["language"]), 2) for by_language in shares.values()),
        ]
        for row in found["languages"]
    ]
    rarer = found["rarer"]
    look = "Languages of at least 0.005% of the documents, the paper's figures beside them."
    if rarer["languages"]:
        look += f" {rarer['languages']} rarer ones have {count(rarer['documents'])} documents."
    table = Table(
        title="Languages",
        head=["language", "documents", "share", "in the paper", *sources],
        rows=rows or [["no document stayed", *[MISSING] * (3 + len(sources))]],
        look=look,
        paper="Table 10",
        is_wide=True,
    )
    lead = (
        f"By {how['model']}: below a probability of {how['threshold']:g} a document is unknown. "
        "Documents of program code are told by the look of their lines; the paper has them among "
        "the unknown."
    )
    return Section("languages", "Languages", lead, [table])


def _named(code: str) -> str:
    if code in (CODE, UNKNOWN):
        return code
    return f"{code} · {_NAMES[code]}" if code in _NAMES else code
