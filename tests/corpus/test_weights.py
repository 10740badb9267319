"""Weights: shares, epochs, and the bound on epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.corpus.weights import mix


def test_by_hand() -> None:
    # Books are a tenth of the tokens and a half of the mix: read five times.
    portions = mix({"web": 900, "books": 100}, {"web": 1.0, "books": 1.0})
    assert portions["books"].sampled == portions["web"].sampled == 500
    assert portions["books"].epochs == 5
    assert portions["web"].epochs == pytest.approx(500 / 900)


def test_no_weights_read_the_sources_as_they_are() -> None:
    portions = mix({"a": 30, "b": 10}, {"a": None, "b": None})
    assert [portion.epochs for portion in portions.values()] == [1, 1]
    assert portions["a"].share == 0.75


def test_a_bound_on_epochs_gives_the_rest_to_the_others() -> None:
    weights = {"a": 2.0, "b": 1.0, "c": 1.0}
    portions = mix({"a": 100, "b": 400, "c": 500}, weights, 1000, max_epochs=2)
    # a would be read 5 times; 800 are left for b and c in equal parts.
    assert [portion.sampled for portion in portions.values()] == [200, 400, 400]
    assert portions["a"].weight == 0.5
    assert portions["a"].share == 0.2


def test_a_target_that_cannot_be_reached() -> None:
    portions = mix({"a": 10, "b": 10}, {"a": 3.0, "b": 1.0}, 1000, max_epochs=4)
    assert [portion.sampled for portion in portions.values()] == [40, 40]


def test_a_source_without_tokens_gets_nothing() -> None:
    portions = mix({"a": 10, "b": 0}, {"a": 1.0, "b": 9.0})
    assert (portions["a"].share, portions["b"].share, portions["b"].epochs) == (1, 0, 0)


SOURCES = st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.01, 100)), min_size=1, max_size=6)


@given(SOURCES, st.integers(1, 10**7), st.sampled_from([0.0, 1.0, 3.5]))
def test_shares_add_up(sources: list[tuple[int, float]], target: int, bound: float) -> None:
    tokens = {str(place): size for place, (size, _) in enumerate(sources)}
    weights: dict[str, float | None] = {str(p): weight for p, (_, weight) in enumerate(sources)}
    portions = mix(tokens, weights, target, bound)
    if not any(tokens.values()):
        assert all(portion.share == 0 for portion in portions.values())
        return
    assert sum(portion.share for portion in portions.values()) == pytest.approx(1)
    assert sum(portion.weight for portion in portions.values()) == pytest.approx(1)
    for portion in portions.values():
        assert not bound or portion.epochs <= bound * (1 + 1e-9)
