"""Batches by tokens: every sequence once, bounded, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arriero.inference import batches as module
from arriero.inference.batches import batches, dealt, padded

CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 60), max_size=40))
def test_every_sequence_once_and_no_batch_too_large(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 50})
        parts = list(batches(lengths, CPU))
    assert [n for part in parts for n in lengths[part]] == lengths
    for part in parts:
        rows = lengths[part]
        assert rows
        assert len(rows) == 1 or len(rows) * max(rows) <= 50


def test_a_batch_is_as_large_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 12})
    assert list(batches([2, 3, 4, 4, 20, 1], CPU)) == [
        slice(0, 3),
        slice(3, 4),
        slice(4, 5),
        slice(5, 6),
    ]
    assert list(batches([3, 4, 4], CPU)) == [slice(0, 3)]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 5))
def test_processes_take_every_sequence_once_at_the_same_pace(
    lengths: list[int], count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 50})
        of_all = [dealt(lengths, CPU, number, count) for number in range(count)]
        alone = dealt(lengths, CPU, 0, 1)
        whole = [list(range(len(lengths)))[part] for part in batches(lengths, CPU)]
    assert alone == whole
    taken = [place for own in of_all for part in own for place in part]
    assert sorted(taken) == list(range(len(lengths)))
    assert len({len(own) for own in of_all}) == 1
    shares = [sum(map(len, own)) for own in of_all]
    assert max(shares) - min(shares) <= 1


def test_who_has_less_to_do_gets_an_empty_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", {"cpu": 12})
    assert dealt([2, 3, 9, 3], CPU, 0, 2) == [[0], [2]]
    assert dealt([2, 3, 9, 3], CPU, 1, 2) == [[1, 3], []]
    assert dealt([5], CPU, 2, 3) == [[]]


def test_padded() -> None:
    tokens, lengths = padded([[5], [6, 7, 8], [9, 4]])
    assert tokens.tolist() == [[5, 0, 0], [6, 7, 8], [9, 4, 0]]
    assert lengths.tolist() == [1, 3, 2]
