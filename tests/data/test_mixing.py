"""Sources read by weight: shares, order and up-sampling against slow loops and by hand."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.data.mixing import (
    Corpus,
    Source,
    apportion,
    open_corpus,
    shard_folder,
    whole_weights,
    write_mix,
)
from arriero.data.shards import Shard, row_order, rows_from, write_tokens
from arriero.records import UserError

WEIGHTS = st.lists(st.integers(1, 50), min_size=1, max_size=6)


def seat_by_seat(weights: list[int], seats: int) -> list[int]:
    """The sources of the first rows, one after another."""
    given, order = [0] * len(weights), []
    for _ in range(seats):
        waited = [Fraction(2 * had + 1, weight) for had, weight in zip(given, weights, strict=True)]
        taken = waited.index(min(waited))
        given[taken] += 1
        order.append(taken)
    return order


def small_corpus(folder: Path, rows: list[int], weights: list[float], length: int = 4) -> Corpus:
    """A source has documents of one id, 10 more for each source, so that a row says where it is."""
    for number, count in enumerate(rows):
        tokens = [10 * (number + 1) + row % 10 for row in range(count) for _ in range(length)]
        write_tokens([[*tokens, 1]], 100, shard_folder(folder, number))
    names = "abcdef"[: len(rows)]
    write_mix(folder, [Source(n, w, ()) for n, w in zip(names, weights, strict=True)])
    return open_corpus(folder, length)


def test_seats_by_hand() -> None:
    """5, 3, 2: quotients 1/10, 1/6, 1/4 for the first seats, 3/10 and 1/2 for the next."""
    assert seat_by_seat([5, 3, 2], 10) == [0, 1, 2, 0, 0, 1, 0, 2, 1, 0]
    assert apportion([5, 3, 2], 4) == [2, 1, 1]
    assert apportion([5, 3, 2], 10) == [5, 3, 2]
    assert apportion([1, 1, 1], 4) == [2, 1, 1]
    assert apportion([7], 9) == [9]
    assert apportion([999, 1], 100) == [100, 0]


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 300))
def test_apportionment_is_that_of_giving_one_seat_after_another(
    weights: list[int], seats: int
) -> None:
    counted = Counter(seat_by_seat(weights, seats))
    assert apportion(weights, seats) == [counted[source] for source in range(len(weights))]


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 10**12), st.integers(1, 5000))
def test_shares_are_never_off_by_more_than_a_few_rows(
    weights: list[int], start: int, count: int
) -> None:
    before, after = apportion(weights, start), apportion(weights, start + count)
    assert sum(before) == start
    for had, has, weight in zip(before, after, weights, strict=True):
        share = Fraction(weight, sum(weights))
        assert abs(had - share * start) <= Fraction(1, 2) + share * len(weights) / 2
        assert has >= had  # nobody loses a row that was read


def test_weights_as_they_are_written() -> None:
    assert whole_weights([0.1, 0.2, 0.7]) == (1, 2, 7)
    assert whole_weights([2.0, 4]) == (1, 2)
    assert whole_weights([0.123]) == (1,)
    assert whole_weights([1e-3, 3.5]) == (1, 3500)


def test_a_step_holds_the_shares_and_the_run_holds_them_exactly(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, [30, 5, 12], [0.5, 0.3, 0.2])
    num_read = [30, 5, 12]
    of_all: Counter[int] = Counter()
    for step in range(20):
        rows = corpus.order(num_read, 8, step, seed=3)
        of_step = Counter(0 if row < 30 else 1 if row < 35 else 2 for row in rows)
        for source, share in enumerate((0.5, 0.3, 0.2)):
            assert abs(of_step[source] - 8 * share) < 2
        of_all += of_step
    assert [of_all[source] for source in range(3)] == [80, 48, 32]  # of 160


def test_row_n_is_the_same_whatever_the_batch_and_wherever_a_run_goes_on(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, [30, 5, 12], [0.5, 0.3, 0.2])
    num_read = [27, 4, 11]
    one_by_one = [row for step in range(120) for row in corpus.order(num_read, 1, step, 7)]
    for size in (2, 8, 40):
        steps = range(120 // size)
        assert [row for step in steps for row in corpus.order(num_read, size, step, 7)] == (
            one_by_one
        )
    # From the definition: the seats in turn, and each source's own reading.
    readings = [iter(rows_from(n, 0, 200, 7, s)) for s, n in enumerate(num_read)]
    slow = [corpus.firsts[s] + next(readings[s]) for s in seat_by_seat([5, 3, 2], 120)]
    assert one_by_one == slow
    assert corpus.order(num_read, 120, 0, seed=8) != one_by_one


def test_what_is_up_sampled_comes_whole_each_time_and_in_a_new_order(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, [40, 6], [1, 1])
    small = [row - 40 for row in corpus.order([38, 5], 60, 0, seed=0) if row >= 40]
    assert len(small) == 30
    epochs = [tuple(small[at : at + 5]) for at in range(0, 30, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)  # row 5 is not read
    assert len(set(epochs)) == 6


def test_one_source_is_read_as_a_corpus_without_sources_is(tmp_path: Path) -> None:
    weighted = small_corpus(tmp_path / "weighted", [23], [0.4])
    write_tokens([[7] * 93], 100, tmp_path / "plain")
    plain = open_corpus(tmp_path / "plain", 4)
    assert (plain.names, plain.num_rows, plain.num_tokens) == (("",), 23, 93)
    for step in range(9):
        expected = row_order(20, 6, step, seed=5)
        assert weighted.order([20], 6, step, 5) == plain.order([20], 6, step, 5) == expected


def test_rows_of_several_sources_stand_where_they_were_asked_for(tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path, [3, 2, 4], [1, 2, 3])
    assert (corpus.num_rows, corpus.firsts) == (9, [0, 3, 5])
    batch = corpus.batch([8, 0, 4, 2, 5])
    assert batch.tokens[:, 0].tolist() == [33, 10, 21, 12, 30]
    for place, row in enumerate([8, 0, 4, 2, 5]):
        alone = corpus.batch([row])
        for name in ("tokens", "segments", "positions", "targets", "loss_mask"):
            assert torch.equal(getattr(batch, name)[place], getattr(alone, name)[0])
    source = Shard(shard_folder(tmp_path, 1), 4)
    assert torch.equal(corpus.batch([4]).tokens, source.batch([1]).tokens)


def test_a_source_shorter_than_a_row_is_named(tmp_path: Path) -> None:
    small_corpus(tmp_path, [3, 1], [1, 1])
    with pytest.raises(UserError, match="source b has 5 tokens, fewer than one row of 8"):
        open_corpus(tmp_path, 8)
