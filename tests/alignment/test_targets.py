"""The choice of targets: by hand, and against a slow search."""

from __future__ import annotations

import math
import random

import pytest

from arriero.alignment.bag import Origin, Samples
from arriero.alignment.targets import (
    Candidate,
    as_dialogs,
    best_of_each,
    candidates_of,
    drawn_keys,
    top_different,
)
from arriero.records import Message, Prompt


def samples(
    scores: list[float], *, ended: list[bool] | None = None, answers: list[str] | None = None
) -> Samples:
    num = len(scores)
    return Samples(
        Prompt("p", (Message("user", "Who?"),)),
        tuple(answers or [f"a{place}" for place in range(num)]),
        tuple(ended or [True] * num),
        tuple(scores),
        tuple(scores),
        tuple(scores),
        Origin("v1", 1.0, "", "", ""),
    )


def one(name: str, score: float, version: str = "v1", *, ended: bool = True) -> Candidate:
    prompt = Prompt(name, (Message("user", f"Who is {name}?"),), category="knowledge")
    return Candidate(prompt, f"{name} of {version}", ended, score, version)


def test_the_best_that_ended_comes_first() -> None:
    found = candidates_of(samples([1.0, 9.0, math.nan, 2.0], ended=[True, False, True, True]))
    assert [each.answer for each in found] == ["a3", "a0", "a1"]
    # Where all were cut off the best of these; of equals the first.
    assert candidates_of(samples([1.0, 2.0, 2.0], ended=[False] * 3))[0].answer == "a1"
    assert candidates_of(samples([math.nan, math.nan])) == []
    assert candidates_of(samples([math.inf, 0.0]))[0].answer == "a1"


def test_against_a_slow_search() -> None:
    draw = random.Random(0)
    for _ in range(300):
        num = draw.randint(1, 6)
        scores = [draw.choice([math.nan, 0.0, 1.0, 2.0]) for _ in range(num)]
        ended = [draw.random() < 0.5 for _ in range(num)]
        able = [place for place in range(num) if scores[place] == scores[place]]
        able = [place for place in able if ended[place]] or able
        found = candidates_of(samples(scores, ended=ended))
        if not able:
            assert found == []
            continue
        best = able[0]
        for place in able:
            if scores[place] > scores[best]:
                best = place
        assert found[0].answer == f"a{best}"


def test_the_top_few_are_different_and_not_empty() -> None:
    row = samples([1.0, 3.0, 3.0, 2.0, 5.0], answers=["a", "b", "b", "c", ""])
    assert [each.answer for each in top_different(candidates_of(row), 2)] == ["b", "c"]
    assert [each.answer for each in top_different(candidates_of(row), 9)] == ["b", "c", "a"]


def test_of_a_prompt_in_several_versions_the_best_wins() -> None:
    newest = [one("p0", 1.0, "v3"), one("p1", 2.0, "v3"), one("p2", 0.0, "v3", ended=False)]
    older = [
        one("p1", 3.0, "v1"),
        one("p0", 1.0, "v2"),  # no better: the newest stays
        one("p9", -4.0, "v1"),
        one("p2", -9.0, "v2"),  # worse, but not cut off
    ]
    best = best_of_each([newest, older])
    assert [(each.prompt.id, each.version) for each in best.values()] == [
        ("p0", "v3"), ("p1", "v1"), ("p2", "v2"), ("p9", "v1"),
    ]  # fmt: skip


def test_one_id_for_two_questions_is_two_prompts() -> None:
    other = Candidate(Prompt("p0", (Message("user", "Why?"),)), "so", True, 9.0, "v2")
    assert len(best_of_each([[one("p0", 1.0)], [other]])) == 2


@pytest.mark.parametrize(("share", "num"), [(1.0, 30), (0.5, 10), (0.25, 3), (0.0, 0), (0.9, 30)])
def test_earlier_prompts_make_up_at_most_their_share(share: float, num: int) -> None:
    own = {each.key: each for each in (one(f"n{place}", 0.0) for place in range(10))}
    shared = list(own)[3]
    earlier = [one(f"o{place}", 0.0).key for place in range(30)]
    earlier.insert(7, shared)
    keys = drawn_keys(earlier, own, share, seed=5)
    assert len(keys) == num + 1
    assert shared in keys  # brings no further target
    assert keys == [key for key in earlier if key in keys]
    assert keys == drawn_keys(earlier, own, share, seed=5)
    if 0 < num < 30:
        assert keys != drawn_keys(earlier, own, share, seed=6)


def test_targets_are_dialogs_that_say_where_they_are_from() -> None:
    whole, cut = as_dialogs([one("p0", 1.0, "v3"), one("p1", 1.0, "v1", ended=False)], "v3")
    assert (whole.source, whole.answer, whole.is_cut) == ("rejection knowledge", "p0 of v3", False)
    assert (cut.source, cut.is_cut) == ("rejection v1 knowledge", True)
