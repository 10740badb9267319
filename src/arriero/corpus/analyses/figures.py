"""analyses.json: all figures of a corpus, from the counts of one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.build_record import SourceRecord
from arriero.corpus.analyses.counts import Counts, added, share
from arriero.corpus.analyses.demographics import identity_figures, pronoun_figures
from arriero.corpus.analyses.language import language_figures
from arriero.corpus.analyses.removed import Examples
from arriero.corpus.analyses.sizes import size_figures
from arriero.corpus.analyses.survey import Settings
from arriero.corpus.analyses.toxicity import toxicity_figures
from arriero.corpus.rules import RULES

VERSION = 1

# By name: the stages that decide need packages that reading a corpus does not.
ORDER = ("excluded_site", *RULES, "exact_duplicate", "near_duplicate")


def all_figures(
    by_source: Mapping[str, Counts],
    settings: Settings,
    examples: Examples,
    record: Mapping[str, SourceRecord],
    classifier: str,
    about: str = "",
) -> dict[str, Any]:
    """What stands in analyses.json. The same corpus and settings give the same.

    Args:
        by_source: counts of `survey`.
        examples: of what was removed.
        record: what the build says.
        classifier: the name of the toxicity classifier, "" if there was none.
        about: what is known of how good that is.
    """
    total = added(by_source.values())
    names = list(dict.fromkeys([*record, *by_source]))
    tokens = {name: record[name].tokens if name in record else None for name in names}
    known = [number for number in tokens.values() if number is not None]
    whole = sum(known) if len(known) == len(names) and names else None
    return {
        "version": VERSION,
        "how": _how(settings, classifier, about),
        "total": _figures(total, settings, whole, classifier),
        "sources": {
            name: {
                **_figures(by_source.get(name, Counter()), settings, tokens[name], classifier),
                "build": asdict(record.get(name, SourceRecord())),
                "removed": _removed([record.get(name, SourceRecord())]),
            }
            for name in names
        },
        "removed": _removed(record.values()),
        "examples": {rule: examples[rule] for rule in sorted(examples, key=_order)},
    }


def _figures(
    counts: Counts, settings: Settings, tokens: int | None, classifier: str
) -> dict[str, Any]:
    return {
        "sizes": size_figures(counts, tokens),
        "english": {
            "documents": counts[("english",)],
            "share": share(counts[("english",)], counts[("documents",)]),
        },
        "languages": language_figures(counts),
        "pronouns": pronoun_figures(counts),
        "identities": identity_figures(counts, settings.terms),
        "toxicity": toxicity_figures(counts) if classifier else None,
    }


def _removed(records: Iterable[SourceRecord]) -> dict[str, dict[str, int]]:
    """Documents and characters by rule, in the order in which the build asks them."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for rule, numbers in record.removed.items():
            counts.setdefault(rule, Counter()).update(numbers)
    return {
        rule: {key: counts[rule][key] for key in ("documents", "characters")}
        for rule in sorted(counts, key=_order)
    }


def _order(rule: str) -> tuple[int, str]:
    return (ORDER.index(rule) if rule in ORDER else len(ORDER), rule)


def _how(settings: Settings, classifier: str, about: str) -> dict[str, Any]:
    terms, pronouns = settings.terms, settings.pronouns
    model: Path | None = settings.language_model
    return {
        "language": {
            "model": "py3langid" if model is None else model.name,
            "threshold": settings.threshold,
        },
        "pronouns": {"name": pronouns.name, "sha256": pronouns.sha256},
        "terms": {
            "name": terms.name,
            "sha256": terms.sha256,
            "ambiguous": list(terms.ambiguous),
            "duplicates": [list(pair) for pair in terms.duplicates],
        },
        "toxicity": {
            "classifier": classifier,
            "about": about,
            "sample": settings.toxicity_rate,
            "seed": settings.seed,
        }
        if classifier
        else None,
    }
