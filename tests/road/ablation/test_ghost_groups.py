"""Which tests of Ghost Attention count as trained."""

from __future__ import annotations

from arriero.records import ConsistencyTest
from arriero.road.ablation.ghost.summary import groups_of


def asked(kind: str, value: str, is_trained: bool) -> ConsistencyTest:
    return ConsistencyTest(
        id=kind,
        instruction=f"{kind}: {value}.",
        turns=("Hello.",),
        question="Which?",
        expected=(value,),
        kind=kind,
        value=value,
        is_trained=is_trained,
    )


def test_what_the_model_named_is_trained_and_of_a_kind_without_values_nothing() -> None:
    tests = [
        asked("hobby", "The horn", False),
        asked("hobby", "the lute", True),
        asked("figure", "Dunna", True),
        asked("home", "Lolum", True),
    ]
    groups = groups_of(tests, {"hobby": ["the horn"]}, {"figure"}, {0, 1, 2, 3})
    assert groups["trained"] == [0, 3]
    assert groups["untrained"] == [1, 2]
    assert groups["untrained figure"] == [2]
    # Numbers that were not asked stand nowhere.
    assert groups_of(tests, {}, set(), {2}) == {
        "trained": [2],
        "untrained": [],
        "trained figure": [2],
    }
