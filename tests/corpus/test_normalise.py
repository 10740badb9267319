"""Normalisation: what changes, what does not, and that once is enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.config import NormaliseConfig
from arriero.corpus.normalise import normalised

ALL = NormaliseConfig()


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("plain text", "plain text", []),
        ("a\0b\x07c", "abc", ["control"]),
        ("e\u0301", "é", ["unicode"]),
        ("a  b\u00a0c\td", "a b c d", ["whitespace"]),
        ("a \r\nb\r\n\r\n\r\n\r\nc\n", "a\nb\n\nc", ["whitespace"]),
        ("if x:\n\ty = 1\n        z", "if x:\n    y = 1\n        z", ["whitespace"]),
        ("\ufeffa\u200bb", "ab", ["control"]),
        ("\ud83d\ude00 \ud800", "😀 �", ["surrogates"]),
    ],
)
def test_by_hand(text: str, expected: str, changes: list[str]) -> None:
    assert normalised(text, ALL) == (expected, changes)


@given(st.text(st.characters(exclude_categories=[]), max_size=80))
def test_what_comes_out_is_text_and_stays(text: str) -> None:
    once, _ = normalised(text, ALL)
    once.encode()
    assert normalised(once, ALL) == (once, [])


def test_each_part_can_be_turned_off() -> None:
    off = NormaliseConfig(unicode="", whitespace=False, control=False)
    text = "e\u0301  \0\n\n\n\nx"
    assert normalised(text, off) == (text, [])
