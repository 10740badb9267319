"""Suffix arrays: sorted as Python sorts, in C++ and in NumPy."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arriero.corpus.contamination.suffixes import Text, suffix_order, text_of
from arriero.records import UserError


def text_of_documents(documents: Sequence[Sequence[int]], dtype: type = np.uint32) -> Text:
    starts = np.cumsum([0, *map(len, documents)])[: len(documents)].astype(np.int64)
    return text_of(np.asarray([t for each in documents for t in each], dtype), starts)


def sorted_places(documents: Sequence[Sequence[int]]) -> list[int]:
    """Places in the text of all tokens, by the rest of their documents, then by place."""
    suffixes: list[tuple[list[int], int]] = []
    place = 0
    for document in documents:
        suffixes += [(list(document[k:]), place + k) for k in range(len(document))]
        place += len(document) + 1
    return [place for _, place in sorted(suffixes)]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_text_is_documents_and_separators(dtype: type) -> None:
    assert text_of_documents([[5, 0], [], [7]], dtype).tolist() == [6, 1, 0, 0, 8, 0]


def test_the_largest_id_of_16_bits() -> None:
    assert text_of_documents([[2**16 - 1]], np.uint16).tolist() == [2**16, 0]


def test_an_id_that_no_vocabulary_has() -> None:
    with pytest.raises(UserError, match="no vocabulary is as large"):
        text_of_documents([[2**32 - 1]])


def test_a_word_by_hand(way: str) -> None:
    # banana: a 5, ana 3, anana 1, banana 0, na 4, nana 2.
    assert suffix_order(text_of_documents([[1, 0, 2, 0, 2, 0]])).tolist() == [5, 3, 1, 0, 4, 2]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    documents=st.lists(
        st.lists(st.sampled_from([0, 1, 2, 40_000, 2**31]), max_size=40), min_size=1, max_size=6
    ),
    copies=st.integers(0, 2),
)
def test_as_python_sorts(way: str, documents: list[list[int]], copies: int) -> None:
    documents = documents + documents[:copies]
    assert suffix_order(text_of_documents(documents)).tolist() == sorted_places(documents)


def test_long_repeats(way: str) -> None:
    draw = random.Random(1)
    passage = [draw.randrange(3) for _ in range(200)]
    documents = [[*passage, 9], passage, passage[50:], [7] * 150, [*([7] * 149), 8], passage]
    assert suffix_order(text_of_documents(documents)).tolist() == sorted_places(documents)


def test_no_token_at_all(way: str) -> None:
    assert suffix_order(text_of_documents([[], []])).tolist() == []
