"""Tables 9a and 9b on planted documents, counted by hand and by a slow reference."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from arriero.corpus.analyses.counts import Counts
from arriero.corpus.analyses.demographics import (
    count_identities,
    count_pronouns,
    identity_figures,
    pronoun_figures,
)
from arriero.corpus.analyses.lists import GENDERS, PERSONS, read_identity_terms, read_pronouns
from arriero.corpus.analyses.words import words_of

PRONOUNS = read_pronouns()
TERMS = read_identity_terms()
PLANTED = [
    "She's a smith. Her forge is hot.",  # she, third
    "The other theme.",  # nothing: he is in the, no word
    "HE SAID SO.",  # he, third: capitals
    "They told me.",  # unspecified, first, third
    "You and I, i.e. all.",  # first, second
    "the US and IT",  # nothing: capitals that are none
    "He gave it to her and to them; you know us.",  # all
    "it",  # third, no gender: a document of one word
]


def counted(texts: list[str]) -> Counts:
    counts: Counts = Counter({("english",): len(texts)})
    for text in texts:
        counts.update(count_pronouns(words_of(text), PRONOUNS))
        counts.update(count_identities(words_of(text), TERMS))
    return counts


def test_pronouns_by_hand() -> None:
    figures = pronoun_figures(counted(PLANTED))
    documents = {name: row["documents"] for name, row in figures.items()}
    assert documents == {
        "any": 6, "gendered": 4, "she": 2, "he": 2, "unspecified": 2,
        "first": 3, "second": 2, "third": 5,
    }  # fmt: skip
    assert figures["any"]["share"] == 6 / 8
    assert figures["gendered"]["share"] == 4 / 8
    assert figures["she"]["share"] == 2 / 4  # of those with a gendered one
    assert figures["first"]["share"] == 3 / 6  # of those with any
    assert figures["first"]["of"] == 6


def test_nothing_has_no_shares() -> None:
    figures = pronoun_figures(Counter())
    assert {row["share"] for row in figures.values()} == {None}
    axes = identity_figures(Counter(), TERMS)
    assert {row["share"] for row in axes.values()} == {None}
    assert all(row["terms"] == [] for row in axes.values())


def test_identities_by_hand() -> None:
    texts = [
        "A Christian and a Catholic met Christians.",
        "The christian, the Korean.",
        "jewish Koreans and Koreans",
        "a black and white, straight line",  # ambiguous
        "An African-American woman, African and American",
        "Christianity and Koreatown",  # parts of words
    ]
    axes = identity_figures(counted(texts), TERMS)
    religion = axes["religion"]
    assert religion["documents"] == 3
    assert religion["share"] == 3 / 6
    assert religion["terms"] == [
        {"term": "christian", "documents": 2, "share": 2 / 3},
        {"term": "catholic", "documents": 1, "share": 1 / 3},
        {"term": "jewish", "documents": 1, "share": 1 / 3},
    ]
    nationality = {row["term"]: row["documents"] for row in axes["nationality"]["terms"]}
    assert nationality == {"korean": 2, "american": 1}
    race = {row["term"]: row["documents"] for row in axes["race_and_ethnicity"]["terms"]}
    assert race == {"african": 1, "african-american": 1}
    assert axes["sexual_orientation"]["documents"] == 0


WORDS = (
    "she he them i you it us US IT ME me my the theme hers herself thee xe christian Christians "
    "gay african american african-american native black straight jewish latin indian stone"
).split()


def naive(text: str, forms: frozenset[str] | tuple[str, ...]) -> bool:
    """Whether any form stands in a text of blanks and plain words, by one regular expression."""
    spelled = ("[- ]".join(map(re.escape, re.split("[- ]", form))) for form in forms)
    return re.search(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)", text, re.IGNORECASE) is not None


@pytest.mark.parametrize("seed", range(3))
def test_like_one_search_a_form(seed: int) -> None:
    source = random.Random(seed)
    texts = [
        " ".join(source.choices(WORDS, k=source.randrange(7))) + source.choice(["", ".", "'s", "-"])
        for _ in range(80)
    ]
    counts = counted(texts)
    plain = [re.sub(r"\b(US|IT|ME)\b", "", text) for text in texts]
    for part, names in ((PRONOUNS.genders, GENDERS), (PRONOUNS.persons, PERSONS)):
        for name in names:
            expected = sum(naive(text, part[name]) for text in plain)
            assert counts[("pronouns", name)] == expected > 0
    everything = frozenset().union(*PRONOUNS.persons.values())
    assert counts[("pronouns", "any")] == sum(naive(text, everything) for text in plain)
    found = 0
    for axis, terms in TERMS.axes.items():
        for term, forms in terms.items():
            expected = sum(naive(text, forms) for text in texts)
            assert counts[("term", axis, term)] == expected
            found += expected
        anything = tuple(form for forms in terms.values() for form in forms)
        assert counts[("axis", axis)] == sum(naive(text, anything) for text in texts)
    assert found > 50


def test_order_and_repetition_do_not_matter() -> None:
    assert counted(PLANTED) == counted(PLANTED[::-1])
    once, often = "she saw Christians. ", "she saw Christians. " * 500
    assert counted([once]) == counted([often])
