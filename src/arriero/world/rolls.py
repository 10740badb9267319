"""Long documents whose end repeats what stands far before it: rolls that are called over and over.

The corpus of the world is made of short documents: what is true of its one valley is soon in the
weights, and nothing far back in a text helps. Each roll has a valley of its own, so that its facts
can only be read in the roll; it is called round after round, every time in another order. Lines are
curt, because a small model learns late to look things up, and the sooner the less else there is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from arriero.world.valley import Valley

_RELATIONS = ("trade", "animal", "instrument")


def rolls(seed: int, num: int, *, most_people: int, least_characters: int) -> Iterator[str]:
    """`num` rolls; the first ones stay the same when more are asked for.

    Args:
        seed: of the world.
        most_people: a roll has two to so many, 40 at most; the more of them there are, the longer
            it takes until it comes back to one.
        least_characters: a roll ends with the first line that reaches this length.
    """
    rng = random.Random(f"rolls/{seed}")
    for _ in range(num):
        own_seed = rng.getrandbits(32)
        yield roll(own_seed, rng.randint(2, most_people), least_characters)


def roll(seed: int, num_people: int, least_characters: int) -> str:
    """One roll of the valley of a seed, such as `Ruvo miller dog pipe` a line."""
    valley = Valley(seed)
    rng = random.Random(f"roll/{seed}")
    people = [person.name for person in rng.sample(valley.people, num_people)]
    lines: list[str] = []
    length = -1  # no line break after the last line
    while length < least_characters:
        for person in rng.sample(people, num_people):
            facts = (valley.facts[person, relation] for relation in _RELATIONS)
            lines.append(" ".join((person, *facts)))
            length += len(lines[-1]) + 1
            if length >= least_characters:
                break
    return "\n".join(lines)
