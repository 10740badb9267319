"""Which words stand in a text: borders, capitals, scripts, and phrases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.analyses.words import has_form, words_of


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("the other theme", ["the", "other"], ["he", "her", "them"]),
        ("She's here; HE'LL go.", ["she", "he", "s", "ll"], ["shes"]),
        ("She\u2019s", ["she"], []),
        ("_he_ and her_name", ["he", "her_name"], ["her"]),
        ("i.e. the U.S. and e.g.", ["i.e.", "u.s.", "e.g."], ["i", "us", "e"]),
        ("Said I. The end", ["i"], ["i."]),
        ("he\u0301 walked", ["h\u00e9"], ["he"]),  # an accent of its own belongs to the letter
        ("t\u00adhe he\u00adro", ["the", "hero"], ["he", "ro"]),  # soft hyphens part nothing
        ("\u00c9l y ella", ["\u00e9l", "ella"], ["l"]),
        ("она и он", ["она", "он"], ["а"]),
        ("\U0001d421\U0001d41e", [], ["he"]),  # letters of mathematics are other letters
        ("co-worker/you;them", ["co", "worker", "you", "them"], ["co-worker"]),
        ("covid19 1he he2", ["covid19", "1he", "he2"], ["he", "covid"]),
        ("", [], [""]),
        ("___ ... \0", [], ["", "_"]),
    ],
)
def test_words_by_hand(text: str, inside: list[str], outside: list[str]) -> None:
    found = words_of(text).lowered
    assert set(inside) <= found
    assert not found & set(outside)


def test_capitals() -> None:
    words = words_of("US gave us IT; it and ME. I")
    assert words.capitals == {"us", "it", "me"}
    assert words.small == {"gave", "us", "it", "and", "i"}


@pytest.mark.parametrize(
    ("text", "form", "is_there"),
    [
        ("An African-American poet", "african-american", True),
        ("An African American poet", "african-american", True),
        ("an African\nAmerican", "african-american", True),
        ("an African\u2010American", "African American", True),
        ("African and American", "african-american", False),
        ("African. American", "african-american", False),
        ("South Africans", "south african", False),
        ("a hard-of-hearing man", "hard-of-hearing", True),
        ("bahá'í and Baha\u0301'\u00ed", "Bah\u00e1'\u00ed", True),
        ("a Jehovah\u2019s Witness", "jehovah's witness", True),
        ("nonbinary", "non-binary", False),
        ("lgbtq+ people", "lgbtq+", True),
        ("LGBTQ+", "lgbtq", True),
        ("LGBTQ people, a + b", "lgbtq+", False),
        ("an _African American_ poet", "african-american", True),
        ("pan_African American", "african-american", False),
    ],
)
def test_phrases_by_hand(text: str, form: str, is_there: bool) -> None:
    assert has_form(words_of(text), form) is is_there


def reference(text: str, word: str) -> bool:
    """Whether a word of plain letters stands in a text of letters, blanks and marks, letter by
    letter."""
    for start in range(len(text) - len(word) + 1):
        end = start + len(word)
        before = text[start - 1] if start else " "
        after = text[end] if end < len(text) else " "
        if text[start:end].lower() == word and not before.isalnum() and not after.isalnum():
            return True
    return False


@given(st.text(alphabet="heHEsr' ,-\n", max_size=40), st.sampled_from(["he", "she", "her", "hers"]))
def test_like_a_search_letter_by_letter(text: str, word: str) -> None:
    assert (word in words_of(text).lowered) == reference(text, word)


@given(st.text(max_size=60))
def test_any_text_has_words_without_blanks(text: str) -> None:
    words = words_of(text)
    assert words.lowered == words.capitals | words.small
    assert all(word and not any(letter.isspace() for letter in word) for word in words.lowered)
