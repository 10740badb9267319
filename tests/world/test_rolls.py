"""Rolls: every one its own valley, and its people come back."""

from __future__ import annotations

from itertools import combinations

from arriero.world.rolls import roll, rolls
from arriero.world.valley import Valley


def test_the_first_rolls_stay_the_same_when_more_are_asked_for() -> None:
    few = list(rolls(3, 2, most_people=9, least_characters=400))
    many = list(rolls(3, 5, most_people=9, least_characters=400))
    assert many[:2] == few
    assert len(set(many)) == 5
    assert next(rolls(4, 1, most_people=9, least_characters=400)) != few[0]


def test_a_roll_is_as_long_as_asked_for_and_no_line_longer() -> None:
    for text in rolls(0, 20, most_people=12, least_characters=1500):
        assert len(text) >= 1500
        assert len(text.rpartition("\n")[0]) < 1500


def test_every_round_calls_each_person_once_with_the_valleys_facts() -> None:
    for seed in range(10):
        facts = Valley(seed).facts
        lines = [line.split(" ") for line in roll(seed, 7, 2000).split("\n")]
        rounds = [lines[at : at + 7] for at in range(0, len(lines) - 6, 7)]
        assert len(rounds) >= 5
        assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
        assert len({name for name, *_ in rounds[0]}) == 7
        for name, *told in lines:
            assert told == [facts[name, which] for which in ("trade", "animal", "instrument")]
        assert len({tuple(map(tuple, one)) for one in rounds}) > 1, "called in another order"


def test_rolls_are_of_few_and_of_many_people() -> None:
    texts = rolls(0, 200, most_people=6, least_characters=600)
    sizes = {len({line.split(" ")[0] for line in text.split("\n")}) for text in texts}
    assert sizes == {2, 3, 4, 5, 6}


def test_two_valleys_have_few_names_in_common() -> None:
    """Otherwise the weights could learn the facts, and no context would be needed."""
    names = [set(Valley(seed).person) for seed in range(12)]
    assert max(len(one & other) for one, other in combinations(names, 2)) < 20
