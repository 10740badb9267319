"""Mixes by hand: what is taken whole, what is drawn, and what is said where a part is too small."""

from __future__ import annotations

from collections import Counter

import pytest

from arriero.records import Message, Preference, UserError
from arriero.records.prompt import Track
from arriero.road.recipe import load_recipe
from arriero.stages.reward_mix import MixConfig, TrackMix, even_counts, mixed


def rows(**counts: int) -> list[Preference]:
    """So many rows each of `track_source`."""
    found: list[Preference] = []
    for name, count in counts.items():
        head, _, source = name.partition("_")
        track: Track = "safety" if head == "safety" else "helpfulness"
        for number in range(count):
            prompt = (Message("user", f"{name} {number}"),)
            found.append(Preference(prompt, "a", "b", track=track, source=source))
    return found


def names(data: list[Preference], places: list[int]) -> Counter[str]:
    return Counter(f"{data[place].track} {data[place].source}" for place in places)


def test_the_published_mixes() -> None:
    """Own safety and open data are a quarter each; a tenth of the safety mix is helpfulness."""
    data = rows(helpfulness_mine=60, helpfulness_hh=100, safety_mine=70, safety_harmless=110)
    config = MixConfig(open=("hh", "harmless"))
    helpfulness = mixed(config, "helpfulness", data, seed=3)
    found = names(data, helpfulness.places)
    assert found["helpfulness mine"] == 60
    assert found["safety mine"] == 30
    assert found["helpfulness hh"] + found["safety harmless"] == 30
    assert len(set(helpfulness.places)) == 120
    assert helpfulness.results()["mix"] == {
        "own helpfulness": 0.5, "own safety": 0.25, "open": 0.25
    }  # fmt: skip
    safety = mixed(config, "safety", data, seed=3)
    assert names(data, safety.places) == {
        "safety mine": 70, "safety harmless": 110, "helpfulness mine": 10, "helpfulness hh": 10
    }  # fmt: skip
    assert not any(part.shortage for part in (*helpfulness.parts, *safety.parts))


def test_without_open_data_the_two_tracks_make_the_mix() -> None:
    data = rows(helpfulness_mine=20, safety_mine=40)
    found = mixed(MixConfig(), "helpfulness", data, seed=0)
    assert names(data, found.places) == {"helpfulness mine": 20, "safety mine": 20}
    assert [(part.target, part.used) for part in found.parts] == [(20, 20), (20, 20), (0, 0)]


def test_a_part_that_is_too_small_is_told_and_made_up_for() -> None:
    data = rows(helpfulness_mine=20, safety_mine=3, helpfulness_hh=40)
    found = mixed(MixConfig(open=("hh",)), "helpfulness", data, seed=0)
    assert [(part.name, part.target, part.used) for part in found.parts] == [
        ("own helpfulness", 20, 20), ("own safety", 10, 3), ("open", 10, 17)
    ]  # fmt: skip
    lines = [part.shortage for part in found.parts if part.shortage]
    assert lines == ["the mix wants 10 pairs of own safety, there are 3"]


def test_nothing_makes_up_for_a_rest_that_is_too_small() -> None:
    data = rows(helpfulness_mine=20, safety_mine=3)
    found = mixed(MixConfig(), "helpfulness", data, seed=0)
    assert len(found.places) == 23
    assert found.results()["mix"]["own safety"] == 3 / 23


def test_parts_by_source_and_one_model_of_both_tracks() -> None:
    data = rows(helpfulness_mine=5, helpfulness_hh=7, safety_mine=9, safety_pku=4)
    both = TrackMix(all=("helpfulness", "safety"))
    assert len(mixed(MixConfig(helpfulness=both), "helpfulness", data, seed=0).places) == 25
    named = TrackMix(all=("hh", "own safety"), rest=("pku",), rest_share=0.2)
    found = mixed(MixConfig(safety=named, open=("pku",)), "safety", data, seed=0)
    assert names(data, found.places) == {
        "helpfulness hh": 7, "safety mine": 9, "safety pku": 4
    }  # fmt: skip


def test_a_draw_is_the_seeds() -> None:
    data = rows(helpfulness_mine=20, safety_mine=400)
    first, again, other = (mixed(MixConfig(), "helpfulness", data, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.places != other.places


@pytest.mark.parametrize(
    ("sizes", "total", "wanted"),
    [
        ([5, 5], 7, [3, 4]),
        ([1, 9, 3], 9, [1, 5, 3]),
        ([0, 0], 4, [0, 0]),
        ([2, 2], 9, [2, 2]),
        ([], 3, []),
    ],
)
def test_even_counts(sizes: list[int], total: int, wanted: list[int]) -> None:
    assert even_counts(sizes, total) == wanted


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (MixConfig(open=("hhh",)), r"mix\.open: no pairs of source 'hhh' \(there are hh, mine\)"),
        (
            MixConfig(helpfulness=TrackMix(all=("web talk",))),
            r"mix\.helpfulness: 'web talk' is no part",
        ),
        (
            MixConfig(open=("hh", "mine")),
            r"mix\.helpfulness\.all: no pairs of own helpfulness; name a part that has some",
        ),
    ],
)
def test_mixes_that_are_refused(config: MixConfig, line: str) -> None:
    with pytest.raises(UserError, match=line):
        mixed(config, "helpfulness", rows(helpfulness_mine=2, safety_hh=2), seed=0)


def test_a_recipe_changes_one_key_of_a_mix_alone() -> None:
    mix = load_recipe("tiny").mix.helpfulness
    assert mix == TrackMix(all=("own helpfulness",), rest=("own safety", "open"), rest_share=0.02)
    given = {"mix.safety.rest": ["open helpfulness"], "mix.open": ["hh"]}
    mix = load_recipe("llama2-7b", given | {"data.source": "files"}).mix
    assert (mix.safety.rest, mix.safety.rest_share, mix.open) == (
        ("open helpfulness",),
        0.1,
        ("hh",),
    )
