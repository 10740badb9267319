"""Comparisons from elsewhere: no ratings, no labels, mostly right, and nothing of the test part."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from arriero.records import Preference, Prompt
from arriero.records.prompt import Track
from arriero.world import World
from arriero.world.open_sets import SOURCE
from arriero.world.tasks import Task

TRACKS: tuple[Track, ...] = ("helpfulness", "safety")


@pytest.fixture(scope="module")
def rows(world: World) -> dict[Track, list[Preference]]:
    return {track: world.open_comparisons(track, 600) for track in TRACKS}


def quality(world: World, row: Preference, answer: str) -> float:
    prompt = Prompt(row.prompt_id, row.prompt, row.track)
    return world.oracle().grade(prompt, answer).quality(row.track)


@pytest.mark.parametrize("track", TRACKS)
def test_they_carry_what_open_sets_carry(rows: dict[Track, list[Preference]], track: Track) -> None:
    assert len(rows[track]) == 600
    for row in rows[track]:
        assert (row.rating, row.chosen_is_safe, row.rejected_is_safe) == (None, None, None)
        assert (row.track, row.source) == (track, SOURCE)
        assert row.prompt[-1].role == "user"
        assert row.chosen.strip()
        assert row.rejected.strip()
        assert row.chosen != row.rejected


@pytest.mark.parametrize("track", TRACKS)
def test_the_crowd_is_mostly_right(
    world: World, rows: dict[Track, list[Preference]], track: Track
) -> None:
    """Better than chance by far, worse than the oracle."""
    truths = [(quality(world, r, r.chosen), quality(world, r, r.rejected)) for r in rows[track]]
    decided = [chosen > rejected for chosen, rejected in truths if chosen != rejected]
    assert 0.70 <= sum(decided) / len(decided) <= 0.95


def test_length_is_a_cue_that_is_none(world: World, rows: dict[Track, list[Preference]]) -> None:
    """Where the crowd is wrong, it mostly took the longer answer."""
    longer = [
        len(row.chosen.split()) > len(row.rejected.split())
        for row in rows["helpfulness"]
        if quality(world, row, row.chosen) < quality(world, row, row.rejected)
    ]
    assert len(longer) >= 50
    assert sum(longer) / len(longer) > 0.6


def test_they_ask_only_what_training_may_ask(
    world: World, rows: dict[Track, list[Preference]]
) -> None:
    parts = Counter(
        world.tasks.part(Task.from_id(row.prompt_id)) for track in TRACKS for row in rows[track]
    )
    assert set(parts) == {"training"}


def test_the_same_seed_gives_the_same_rows_and_another_one_others(world: World) -> None:
    state = random.getstate()
    first = world.open_comparisons("safety", 20)
    assert first == World(0).open_comparisons("safety", 20)
    assert first == world.open_comparisons("safety", 40)[:20]
    assert first != World(1).open_comparisons("safety", 20)
    assert random.getstate() == state
