"""What follows from an outside judge's verdicts, by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from arriero.equations.intervals import wilson_interval, win_rate
from arriero.evaluation.graded import GradedAnswer
from arriero.evaluation.judging import (
    agreements,
    compared_answers,
    drawn_places,
    judged_path,
    judged_wins,
)
from arriero.records import Grade, Message, Prompt
from arriero.records.prompt import Track

VERSIONS = ("sft-v1", "sft-v2", "ppo-v1")


def answer(track: Track, number: int, text: str, score: float, quality: float) -> GradedAnswer:
    prompt = Prompt(f"{track}-{number}", (Message("user", f"{track} {number}?"),), track)
    grade = Grade(quality, quality, False, False, False, "")
    return GradedAnswer(prompt, text, 1, score, score, score, grade)


def graded(size: int = 4) -> dict[str, dict[str, list[GradedAnswer]]]:
    """Later versions have higher scores, and by the oracle lower quality; the first prompt of a
    set gets the same text of all."""
    return {
        version: {
            track: [
                answer(track, n, "same" if n == 0 else f"{version} {n}", place + n, -place)
                for n in range(size)
            ]
            for track in ("helpfulness", "safety")
        }
        for place, version in enumerate(VERSIONS)
    }


def test_places_are_a_fair_draw() -> None:
    sizes = {"ordinary": 600, "adversarial": 300, "tiny": 3}
    drawn = drawn_places(sizes, 301, seed=0)
    assert len(set(drawn)) == len(drawn) == 301
    assert Counter(name for name, _ in drawn) == {"ordinary": 200, "adversarial": 100, "tiny": 1}
    assert all(0 <= index < sizes[name] for name, index in drawn)
    assert drawn == drawn_places(sizes, 301, seed=0)
    assert set(drawn) != set(drawn_places(sizes, 301, seed=1))
    # A beginning of them is a sample of all sets too.
    assert 40 < Counter(name for name, _ in drawn[:90])["ordinary"] < 80
    everything = drawn_places({"a": 2, "b": 3}, 9, seed=0)
    assert sorted(everything) == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
    assert drawn_places({"a": 0}, 9, seed=0) == []


def test_all_comparisons_have_the_same_prompts() -> None:
    compared = compared_answers(graded(), "sft-v2", 5, seed=0)
    by_pair: dict[tuple[str, str], list[str]] = {}
    for one in compared:
        assert one.later_answer.prompt == one.earlier_answer.prompt
        by_pair.setdefault((one.earlier, one.later), []).append(one.later_answer.prompt.id)
    assert by_pair.keys() == {("sft-v1", "sft-v2"), ("sft-v2", "ppo-v1")}
    assert len({tuple(prompts) for prompts in by_pair.values()}) == 1
    assert {len(prompts) for prompts in by_pair.values()} == {5}
    pair = compared[0].pair
    assert (pair.chosen, pair.rejected) == (
        compared[0].later_answer.text,
        compared[0].earlier_answer.text,
    )


def test_a_question_is_its_words_and_its_model() -> None:
    compared = compared_answers(graded(), "", 8, seed=0)
    first, second = [one for one in compared if not one.is_same_text][:2]
    assert first.question("m") == first.question("m")
    assert len({first.question("m"), first.question("n"), second.question("m")}) == 3


def test_wins_by_hand() -> None:
    compared = compared_answers(graded(), "sft-v2", 8, seed=0)
    verdicts: list[float | None] = []
    for one in compared:
        number = int(one.later_answer.prompt.id[-1])
        is_last = one.later == "ppo-v1"
        # ppo-v1: helpfulness is won 3 times, safety lost twice with a pair skipped; sft-v2: ties.
        if one.is_same_text or not is_last:
            verdicts.append(0.5)
        elif one.set_name == "helpfulness":
            verdicts.append(1.0)
        else:
            verdicts.append(None if number == 1 else 0.0)
    rows = {(row["a"], row["set"]): row for row in judged_wins(compared, verdicts)}
    counted = {
        key: (row["wins"], row["ties"], row["losses"], row["skipped"]) for key, row in rows.items()
    }
    assert counted == {
        ("sft-v2", "helpfulness"): (0, 4, 0, 0),
        ("sft-v2", "safety"): (0, 4, 0, 0),
        ("sft-v2", "all"): (0, 8, 0, 0),
        ("ppo-v1", "helpfulness"): (3, 1, 0, 0),
        ("ppo-v1", "safety"): (0, 1, 2, 1),
        ("ppo-v1", "all"): (3, 2, 2, 1),
    }
    row = rows["ppo-v1", "all"]
    assert (row["share"], row["low"], row["high"]) == win_rate(3, 2, 2)
    assert row["judge"] == "outside"
    path = judged_path(compared, verdicts, "sft-v2")
    assert path == {
        "ppo-v1": {"helpfulness": 1.0, "safety": 0.0},
        "sft-v2": {"helpfulness": 0.5, "safety": 0.5},
    }
    # Scores always rise and quality always falls: five pairs are decided, three of them won.
    found = {tuple(row["judges"]): row for row in agreements(compared, verdicts)}
    assert found["outside", "reward"]["share"] == 3 / 5
    assert found["outside", "oracle"]["share"] == 2 / 5
    assert found["reward", "oracle"]["share"] == 0
    assert {row["n"] for row in found.values()} == {5}
    low, high = wilson_interval(3, 5)
    assert (found["outside", "reward"]["low"], found["outside", "reward"]["high"]) == (low, high)


def test_a_pair_that_two_comparisons_share_agrees_once() -> None:
    found = graded()
    found["ppo-v2"] = found["ppo-v1"]
    compared = compared_answers(found, "sft-v2", 8, seed=0)
    verdicts = [0.5 if one.is_same_text else 1.0 for one in compared]
    # Two of the four compare the same texts and one a text with itself: 2 * 6 pairs are left.
    assert len(compared) == 4 * 8
    assert {row["n"] for row in agreements(compared, verdicts)} == {12}


def test_who_is_older_than_the_baseline_stands_on_the_path_too() -> None:
    compared = compared_answers(graded(), "sft-v2", 8, seed=0)
    verdicts = [0.5 if one.is_same_text else 1.0 for one in compared]
    path = judged_path(compared, verdicts, "sft-v2")
    assert path["sft-v1"] == {"helpfulness": 0.0, "safety": 0.0}
    assert path["ppo-v1"] == {"helpfulness": 1.0, "safety": 1.0}


@pytest.mark.parametrize("verdict", [None, 0.5])
def test_nothing_decided_says_nothing_of_agreement(verdict: float | None) -> None:
    compared = compared_answers(graded(), "sft-v2", 8, seed=0)
    verdicts = [verdict] * len(compared)
    assert agreements(compared, verdicts) == []
    assert judged_path(compared, verdicts, "sft-v2") == {}
    rows = judged_wins(compared, verdicts)
    assert len(rows) == 6, "a set that was skipped whole has a row too"
    if verdict is None:
        assert all(row["skipped"] and not row["wins"] + row["ties"] + row["losses"] for row in rows)
