"""analyses.json: all figures of a corpus, from the counts of one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arriero.corpus.analyses.build_record import SourceRecord
from arriero.corpus.analyses.counts import Counts, added, share
from arriero.corpus.analyses.demographics import identity_figures, pronoun_figures
from arriero.corpus.analyses.language import language_figures
from arriero.corpus.analyses.removed import Removal
from arriero.corpus.analyses.sizes import size_figures
from arriero.corpus.analyses.survey import Settings
from arriero.corpus.analyses.toxicity import toxicity_figures

VERSION = 1


def all_figures(
    by_source: Mapping[str, Counts],
    settings: Settings,
    removal: Removal,
    record: Mapping[str, SourceRecord],
    classifier: str,
    about: str = "",
) -> dict[str, Any]:
    """What stands in analyses.json. The same corpus and settings give the same.

    Args:
        by_source: counts of `survey`.
        classifier: the name of the toxicity classifier, "" if there was none.
        about: what is known of how good that is.
    """
    total = added(by_source.values())
    names = list(dict.fromkeys([*record, *by_source, *removal.by_source]))
    tokens = {name: record[name].tokens if name in record else None for name in names}
    known = [number for number in tokens.values() if number is not None]
    whole = sum(known) if len(known) == len(names) and names else None
    removed = {
        name: _with_characters(removal.by_source.get(name, Counter()), record.get(name))
        for name in names
    }
    return {
        "version": VERSION,
        "how": _how(settings, classifier, about),
        "total": _figures(total, settings, whole, classifier),
        "sources": {
            name: {
                **_figures(by_source.get(name, Counter()), settings, tokens[name], classifier),
                "build": asdict(record.get(name, SourceRecord())),
                "removed": _removed(removed[name]),
            }
            for name in names
        },
        "removed": _removed(added(removed.values())),
        "examples": removal.examples,
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


def _with_characters(counts: Counts, record: SourceRecord | None) -> Counts:
    """Characters as the build read them: of an excluded site's pages it keeps no text."""
    known = record.removed if record else {}
    return Counter(
        counts | {("characters", rule): characters for rule, (_, characters) in known.items()}
    )


def _removed(counts: Counts) -> dict[str, dict[str, int]]:
    """Documents and characters by rule, the rule that removed most first."""
    rules = {key[1]: number for key, number in counts.items() if key[0] == "documents"}
    return {
        rule: {"documents": number, "characters": counts[("characters", rule)]}
        for rule, number in sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    }


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
