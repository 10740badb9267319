"""Lists of pronouns and terms: ours, HolisticBias's format, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arriero.corpus.analyses.lists import (
    AXES,
    GENDERS,
    PERSONS,
    read_identity_terms,
    read_pronouns,
)
from arriero.corpus.analyses.words import form_words
from arriero.records import UserError


def written(folder: Path, value: Any) -> Path:
    path = folder / "list.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_our_pronouns_hold_the_papers() -> None:
    pronouns = read_pronouns()
    assert {"she", "her", "hers", "herself"} == pronouns.genders["she"]
    assert {"he", "him", "his", "himself"} == pronouns.genders["he"]
    assert {"they", "them", "their", "theirs", "xe"} <= pronouns.genders["unspecified"]
    assert {"i", "me", "my", "mine", "myself", "we", "our"} <= pronouns.persons["first"]
    assert {"you", "your", "yours"} <= pronouns.persons["second"]
    # What has a gender is of the third person.
    genders = [pronouns.genders[name] for name in GENDERS]
    assert frozenset().union(*genders) | {"it", "its", "itself"} == pronouns.persons["third"]
    for one in PERSONS:
        for other in PERSONS:
            assert one == other or not pronouns.persons[one] & pronouns.persons[other]


def test_our_terms_are_words_on_five_axes_without_the_ambiguous() -> None:
    terms = read_identity_terms()
    assert sorted(terms.axes) == sorted(AXES)
    assert terms.ambiguous == ("black", "straight", "white")
    assert terms.duplicates == ()
    everything = [(axis, term) for axis, held in terms.axes.items() for term in held]
    assert len(everything) > 100
    assert not {"black", "straight", "white"} & {term for _, term in everything}
    for held in terms.axes.values():
        forms = [form_words(form) for several in held.values() for form in several]
        assert all(forms)
    kept = read_identity_terms(ambiguous=[])
    assert {"straight"} <= set(kept.axes["sexual_orientation"])


HOLISTIC = {
    "ability": {"auditory": ["Deaf"]},
    "gender_and_sex": {
        "binary": [{"descriptor": "female", "preference": "reviewed"}, "male"],
        "other": [{"descriptor": "Queer"}, "LGBTQ+"],
    },
    "sexual_orientation": {"all": ["gay", {"descriptor": "queer"}, "straight"]},
    "race_ethnicity": {"all": ["African-American", "white"]},
}


def test_holistic_bias_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, HOLISTIC)
    terms = read_identity_terms(path)
    assert terms.axes == {
        "gender_and_sex": {"female": ("female",), "male": ("male",), "lgbtq+": ("LGBTQ+",)},
        # On two axes: it stays on the one that has fewer terms.
        "sexual_orientation": {"gay": ("gay",), "queer": ("queer",)},
        "race_and_ethnicity": {"african-american": ("African-American",)},
    }
    assert terms.ambiguous == ("straight", "white")
    assert terms.duplicates == (("queer", "gender_and_sex"),)
    both = read_identity_terms(path, ambiguous=["gay"], keep_duplicates=True)
    assert "queer" in both.axes["gender_and_sex"]
    assert sorted(both.axes["sexual_orientation"]) == ["queer", "straight"]
    assert both.sha256 == terms.sha256


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("gay, lesbian\n", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([1, 2], "object of axes"),
        ({}, "none of the axes gender_and_sex"),
        ({"ability": {"a": ["x"]}}, "none of the axes"),
        ({"religion": ["christian"]}, '"religion" should map buckets'),
        ({"religion": {"a": "christian"}}, 'bucket "a" of "religion" should be a list'),
        ({"religion": {"a": [{"name": "christian"}]}}, 'bucket "a" of "religion" has None'),
        ({"religion": {"a": [7]}}, "has 7, no text"),
        ({"religion": {"a": ["--"]}}, "has '--', no text"),
        ({"format": "arriero-identity-terms", "version": 2}, "version 2; this reads version 1"),
        ({"format": "arriero-identity-terms", "version": 1}, '"axes" should map'),
        (
            {"format": "arriero-identity-terms", "version": 1, "axes": {"a": ["x"]}},
            'axis "a" should map terms',
        ),
        (
            {"format": "arriero-identity-terms", "version": 1, "axes": {"a": {"x": "x"}}},
            'term "x" of "a" should have a list of forms',
        ),
        (
            {"format": "arriero-identity-terms", "version": 1, "axes": {"a": {"x": ["!"]}}},
            "a form without a word: '!'",
        ),
    ],
)
def test_lists_of_terms_in_the_wrong_format(tmp_path: Path, value: Any, problem: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(UserError) as refused:
        read_identity_terms(path)
    message = str(refused.value)
    assert problem in message
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "other"}, "no list of pronouns"),
        ({"version": 9}, "version 9"),
        ({"genders": []}, '"genders" should map'),
        ({"genders": {"she": ["she"], "he": []}}, '"he" of "genders" is empty'),
        ({"genders": {"she": "she"}}, '"she" should be a list of words'),
        ({"persons": {"first": ["I am"]}}, '\'i am\' in "first" of "persons" is no single word'),
        ({"persons": {}}, '"first" should be a list'),
        ({"not_in_capitals": "us"}, '"not_in_capitals" should be a list'),
    ],
)
def test_lists_of_pronouns_in_the_wrong_format(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    good = {
        "format": "arriero-pronouns",
        "version": 1,
        "genders": {"she": ["she"], "he": ["he"], "unspecified": ["they"]},
        "persons": {"first": ["I"], "second": ["you"], "third": ["it"]},
    }
    assert read_pronouns(written(tmp_path, good)).persons["first"] == {"i"}
    path = written(tmp_path, good | change)
    with pytest.raises(UserError) as refused:
        read_pronouns(path)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_identity_terms(path)
