"""Scores of lines to scores of documents, and the sample."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.analyses.counts import added
from arriero.corpus.analyses.sampling import drawn_number, is_drawn
from arriero.corpus.analyses.toxicity import (
    BINS,
    LONGEST_LINE,
    count_toxicity,
    lines_of,
    toxicity_figures,
)


def test_by_hand() -> None:
    documents = [[0.1, 0.3], [0.9], [1.0, 0.0], [float("nan"), 0.02], [], [float("nan")], [2.0]]
    figures = toxicity_figures(added(count_toxicity(scores) for scores in documents))
    assert figures["documents"] == 4  # means 0.2, 0.9, 0.5, 0.02
    assert figures["lines"] == 6
    assert figures["lines_without_a_number"] == 3
    assert figures["documents_without_a_score"] == 3
    assert figures["toxic"] == 2
    assert figures["share"] == 0.5
    assert figures["mean"] == pytest.approx((0.2 + 0.9 + 0.5 + 0.02) / 4)
    places = {place for place, number in enumerate(figures["histogram"]) if number}
    assert places == {0, 4, 10, 18}
    assert len(figures["edges"]) == len(figures["histogram"]) + 1 == BINS + 1


def test_nothing_looked_at() -> None:
    figures = toxicity_figures(added([]))
    assert figures["share"] is figures["mean"] is None
    assert sum(figures["histogram"]) == 0


@given(st.lists(st.lists(st.floats(0, 1), max_size=5), max_size=12), st.randoms())
def test_any_order_and_any_cut_give_the_same(
    documents: list[list[float]], source: random.Random
) -> None:
    parts = [count_toxicity(scores) for scores in documents]
    once = toxicity_figures(added(parts))
    source.shuffle(parts)
    cut = source.randrange(len(parts) + 1)
    assert toxicity_figures(added([added(parts[:cut]), added(parts[cut:])])) == once
    means = [math.fsum(scores) / len(scores) for scores in documents if scores]
    assert once["toxic"] == sum(mean >= 0.5 for mean in means)
    assert sum(once["histogram"]) == len(means)
    for low, high, number in zip(once["edges"], once["edges"][1:], once["histogram"], strict=False):
        is_last = high == 1
        assert number == sum(low <= m < high or (is_last and m == 1) for m in means)


def test_lines() -> None:
    assert list(lines_of("a\r\n\n  \n b \u2028c")) == ["a", " b ", "c"]
    gigantic = list(lines_of("y" * (10 * LONGEST_LINE + 1)))
    assert [len(line) for line in gigantic] == [LONGEST_LINE] * 10 + [1]
    assert list(lines_of("")) == []


def test_the_sample_follows_from_the_ids() -> None:
    names = [f"document {number}" for number in range(20_000)]
    tenth = {name for name in names if is_drawn(name, 0.1, 0)}
    assert len(tenth) == pytest.approx(2_000, abs=150)
    fifth = {name for name in names if is_drawn(name, 0.2, 0)}
    assert tenth < fifth
    other = {name for name in names if is_drawn(name, 0.1, 1)}
    assert len(tenth & other) == pytest.approx(200, abs=60)  # independent of one another
    assert all(is_drawn(name, 1.0, 0) for name in names)
    assert drawn_number("a", 0) == drawn_number("a", 0) < 2**64
