"""Pronouns and identity terms in the English documents (Tables 9a and 9b).

A document counts once for a pronoun or term, however often it stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from arriero.corpus.analyses.counts import Counts, Key, share
from arriero.corpus.analyses.lists import GENDERS, PERSONS, IdentityTerms, Pronouns
from arriero.corpus.analyses.words import Words, has_form

TOP = 5
"""Terms of an axis that Table 9b shows."""


def count_pronouns(words: Words, pronouns: Pronouns) -> Iterator[Key]:
    """What a document counts as: genders, persons, and any of either.

    Counted as ("pronouns", "she") and the like; "gendered" for any gender, "any" for any pronoun.
    """
    said = words.lowered - (pronouns.not_in_capitals & (words.capitals - words.small))
    genders = [name for name in GENDERS if not said.isdisjoint(pronouns.genders[name])]
    persons = [name for name in PERSONS if not said.isdisjoint(pronouns.persons[name])]
    for name in (*genders, *persons):
        yield ("pronouns", name)
    if genders:
        yield ("pronouns", "gendered")
    if genders or persons:
        yield ("pronouns", "any")


def pronoun_figures(counts: Counts) -> dict[str, Any]:
    """Table 9a: shares, each with what it is a share of.

    `any` and `gendered` are shares of the English documents, the genders of those with a gendered
    pronoun, the persons of those with any pronoun. A share of nothing is None.
    """
    number = {name: counts[("pronouns", name)] for name in ("any", "gendered", *GENDERS, *PERSONS)}
    english = counts[("english",)]
    bases = {"any": english, "gendered": english}
    bases |= dict.fromkeys(GENDERS, number["gendered"]) | dict.fromkeys(PERSONS, number["any"])
    return {
        name: {"documents": number[name], "of": bases[name], "share": share(number[name], base)}
        for name, base in bases.items()
    }


def count_identities(words: Words, terms: IdentityTerms) -> Iterator[Key]:
    """The axes that a document mentions, ("axis", A), and their terms, ("term", A, T)."""
    for axis, forms_of in terms.axes.items():
        found = [
            term for term, forms in forms_of.items() if any(has_form(words, form) for form in forms)
        ]
        for term in found:
            yield ("term", axis, term)
        if found:
            yield ("axis", axis)


def identity_figures(counts: Counts, terms: IdentityTerms) -> dict[str, Any]:
    """Table 9b: of each axis the share of documents that mention it, and of those each term's.

    Terms are sorted by documents, then by name; those that no document mentions are left out.
    """
    return {axis: _axis_figures(counts, axis, list(terms.axes[axis])) for axis in terms.axes}


def _axis_figures(counts: Counts, axis: str, terms: list[str]) -> dict[str, Any]:
    documents, english = counts[("axis", axis)], counts[("english",)]
    held = Counter({term: counts[("term", axis, term)] for term in terms})
    ordered = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    return {
        "documents": documents,
        "share": share(documents, english),
        "terms_looked_for": len(terms),
        "terms": [
            {"term": term, "documents": number, "share": share(number, documents)}
            for term, number in ordered
            if number
        ],
    }
