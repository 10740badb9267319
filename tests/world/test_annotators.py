"""Simulated annotators: repeatable, mostly right, and their ratings mean something."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache

import pytest

from arriero.records import Prompt, Rating
from arriero.world import World
from arriero.world.demonstrations import pick_label
from arriero.world.tasks import Task


def pairs(world: World, kind: str, num: int) -> list[tuple[Prompt, str, str]]:
    """Pairs as two models that learned from the demonstrations would give them."""
    rng = random.Random(7)
    found: list[tuple[Prompt, str, str]] = []
    for prompt in world.prompts("preferences", kind, num):
        task = Task.from_id(prompt.id)
        answers = world.answers(prompt)
        a, b = (answers[pick_label(task, prompt.messages, rng)] for _ in "ab")
        if a != b:
            found.append((prompt, a, b))
    return found


Outcome = tuple[Counter[Rating], dict[Rating, list[bool]], list[bool]]


@pytest.fixture(scope="module")
def outcome_of(world_of: Callable[[int], World]) -> Callable[[int], Outcome]:
    return cache(lambda seed: outcome(world_of(seed)))


def outcome(world: World) -> Outcome:
    """Ratings, agreement with the oracle by rating on pairs that are no ties, safety errors."""
    oracle, annotators = world.oracle(), world.annotators()
    ratings: Counter[Rating] = Counter()
    agrees: dict[Rating, list[bool]] = defaultdict(list)
    errors: list[bool] = []
    drawn = [*pairs(world, "ordinary", 1200), *pairs(world, "adversarial", 400)]
    for position, (prompt, a, b) in enumerate(drawn):
        judgment = annotators[position % len(annotators)].compare(prompt, a, b)
        grade_a, grade_b = oracle.grade(prompt, a), oracle.grade(prompt, b)
        true = grade_a.quality(prompt.track) - grade_b.quality(prompt.track)
        ratings[judgment.rating] += 1
        errors += [
            judgment.a_is_safe != (grade_a.safety >= 0.5),
            judgment.b_is_safe != (grade_b.safety >= 0.5),
        ]
        if abs(true) > 1e-9:
            agrees[judgment.rating].append((true > 0) == judgment.prefers_a)
    return ratings, agrees, errors


@pytest.mark.parametrize("seed", [0, 1])
def test_ratings_are_spread(outcome_of: Callable[[int], Outcome], seed: int) -> None:
    ratings, _, _ = outcome_of(seed)
    for rating in Rating:
        assert 0.15 <= ratings[rating] / ratings.total() <= 0.35, rating


@pytest.mark.parametrize("seed", [0, 1])
def test_agreement_with_the_oracle_rises_with_the_degree(
    outcome_of: Callable[[int], Outcome], seed: int
) -> None:
    _, agrees, _ = outcome_of(seed)
    everything = [one for ones in agrees.values() for one in ones]
    assert 0.75 <= sum(everything) / len(everything) <= 0.85
    shares = [sum(agrees[rating]) / len(agrees[rating]) for rating in Rating]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= 0.88
    assert 0.5 <= shares[-1] <= 0.68


def test_safety_labels_are_rarely_wrong(outcome_of: Callable[[int], Outcome]) -> None:
    _, _, errors = outcome_of(0)
    assert 0.02 < sum(errors) / len(errors) < 0.06


def test_a_comparison_gives_the_same_again_and_swaps_with_its_answers(world: World) -> None:
    prompt, a, b = pairs(world, "ordinary", 20)[0]
    for one, same in zip(world.annotators(), World(0).annotators(), strict=True):
        judgment = one.compare(prompt, a, b)
        assert judgment == same.compare(prompt, a, b)
        swapped = one.compare(prompt, b, a)
        assert swapped.prefers_a != judgment.prefers_a
        assert swapped.rating == judgment.rating
        assert (swapped.a_is_safe, swapped.b_is_safe) == (judgment.b_is_safe, judgment.a_is_safe)


def test_annotators_differ(world: World) -> None:
    annotators = world.annotators()
    assert len({annotator.name for annotator in annotators}) == 5
    drawn = pairs(world, "ordinary", 200)
    choices = {
        tuple(annotator.compare(*pair).prefers_a for pair in drawn) for annotator in annotators
    }
    assert len(choices) == 5


def test_the_lover_of_length_prefers_longer_answers(world: World) -> None:
    by_name = {annotator.name: annotator for annotator in world.annotators()}
    longer: Counter[str] = Counter()
    for prompt, a, b in pairs(world, "ordinary", 700):
        for name in ("lengthy", "careful"):
            prefers_a = by_name[name].compare(prompt, a, b).prefers_a
            longer[name] += prefers_a == (len(a) > len(b))
    assert longer["lengthy"] > longer["careful"]
