"""Questions of a small benchmark, and how they leak into a page: whole, edited, or hardly."""

from __future__ import annotations

import random
from typing import Any

from arriero.world.valley import Valley

# Words that are changed in a leaked question, and whether that is within the budget of A.6: up to
# four, none of them among the first ten words and not the last one.
EDITS = ("none", "one", "four", "early", "five")
_LEAST_WORDS = 26


def benchmark_questions(valley: Valley, num: int) -> list[dict[str, Any]]:
    """Sums told as tales, of some thirty words: `id`, `question`, `answer`."""
    rng = random.Random(f"benchmark/{valley.seed}")
    rows: list[dict[str, Any]] = []
    for number in range(num):
        person, other = rng.sample(valley.people, 2)
        village = rng.choice(valley.villages)
        good = valley.facts[village, "good"]
        one, two, three = (rng.randrange(2, 90) for _ in range(3))
        question = (
            f"In the market of {village} {person.name} bought {one} sacks of {good} at dawn and "
            f"then {two} more before noon while {other.name} carried away {three} crates and a "
            f"lantern so how many sacks did {person.name} buy that day"
        )
        rows.append({"id": f"sum-{number:03d}", "question": question, "answer": str(one + two)})
    return rows


def plant_leak(
    question: dict[str, Any], page: str, rng: random.Random
) -> tuple[str, dict[str, Any]]:
    """A page with the question in its middle, and how it was edited.

    Returns the text, and `edit` (one of EDITS) with the places of the words that were changed.
    """
    words = question["question"].split()
    assert len(words) >= _LEAST_WORDS
    edit = rng.choice(EDITS)
    places = {
        "none": [],
        "one": [rng.randrange(12, len(words) - 3)],
        "four": sorted(rng.sample(range(11, len(words) - 2), 4)),
        "early": [rng.randrange(3, 8)],
        "five": sorted(rng.sample(range(11, len(words) - 2), 5)),
    }[edit]
    for place in places:
        words[place] = f"qux{rng.randrange(100)}"
    sentences = page.split(". ")
    middle = len(sentences) // 2
    text = ". ".join([*sentences[:middle], " ".join(words), *sentences[middle:]])
    return text, {"edit": edit, "places": places}
