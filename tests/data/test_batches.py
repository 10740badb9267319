"""How the ranks of a job share the batch of a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.data.batches import Batches, micro_batches, most_ranks


def test_by_hand() -> None:
    assert micro_batches(list(range(8)), 3) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert micro_batches(list(range(8)), 32, ranks=2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert micro_batches(list(range(6)), 2, ranks=2) == [[0, 1], [3, 4], [2], [5]]
    assert micro_batches([], 3, ranks=2) == []


@given(st.integers(1, 6), st.integers(0, 12), st.integers(1, 9))
def test_ranks_that_take_turns_get_as_many_items_in_as_many_batches(
    ranks: int, share: int, at_once: int
) -> None:
    items = list(range(ranks * share))
    batches = micro_batches(items, at_once, ranks)
    of_ranks = [batches[rank::ranks] for rank in range(ranks)]
    assert sorted(item for batch in batches for item in batch) == items
    assert {sum(map(len, own)) for own in of_ranks} == {share}
    assert {len(own) for own in of_ranks} == {-(-share // at_once)}
    assert all(1 <= len(batch) <= at_once for batch in batches)


@given(st.integers(2, 6), st.lists(st.integers(), max_size=30), st.integers(1, 9))
def test_one_rank_and_what_cannot_be_shared_goes_in_order(
    ranks: int, items: list[int], at_once: int
) -> None:
    plain = [items[at : at + at_once] for at in range(0, len(items), at_once)]
    assert micro_batches(items, at_once) == plain
    if len(items) % ranks:
        assert micro_batches(items, at_once, ranks) == plain


def test_most_ranks_by_trying_all() -> None:
    for items in range(1, 40):
        for ranks in range(1, 40):
            even = [n for n in range(1, ranks + 1) if items % n == 0]
            assert most_ranks(items, ranks) == max(even)


def test_a_batch_is_made_when_it_is_asked_for() -> None:
    made: list[int] = []

    def make(plan: int) -> str:
        made.append(plan)
        return f"batch {plan}"

    batches = Batches([1, 2, 3, 4], make)
    assert len(batches) == 4
    assert made == []
    assert (batches[1], batches[2:][1]) == ("batch 2", "batch 4")
    assert made == [2, 4]
    with pytest.raises(IndexError):
        batches[4]
