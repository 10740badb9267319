"""Long documents that come back to their own words: what went over a counter, line after line.

The corpus of the world is made of short documents: what is true of its one valley is soon in the
weights, and nothing far back in a text helps. A counter sells a few things out of many, and the
ledger alone says which: the more of it is in view, the better the next word can be guessed. That
the words of a text return is the first thing that a small model reads a context for; to look facts
up in it, as in a book of people, it learns several times later than an ablation lasts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from arriero.world.valley import (
    ANIMALS,
    DISHES,
    FISH,
    GOODS,
    INSTRUMENTS,
    OLD_ADJECTIVES,
    OLD_NOUNS,
    TRADES,
)

_WORDS_A_LINE = (4, 12)


def all_things() -> list[str]:
    """Every word that a ledger may hold, in order."""
    things = {*GOODS, *FISH, *OLD_NOUNS, *OLD_ADJECTIVES}
    for pool in (TRADES, ANIMALS, DISHES, INSTRUMENTS):
        for thing, value in pool.items():
            things.update(thing.split(), value.split())
    return sorted(things)


def ledgers(seed: int, num: int, *, num_words: int, kinds: tuple[int, int]) -> Iterator[str]:
    """`num` ledgers; the first ones stay the same when more are asked for.

    Args:
        seed: of the world.
        num_words: words of each.
        kinds: the fewest and the most different things that a counter sells.
    """
    rng = random.Random(f"ledgers/{seed}")
    things = all_things()
    fewest, most = kinds
    for _ in range(num):
        sold = rng.sample(things, rng.randint(fewest, most))
        lines: list[str] = []
        left = num_words
        while left:
            words = min(left, rng.randint(*_WORDS_A_LINE))
            lines.append(" ".join(rng.choices(sold, k=words)))
            left -= words
        yield "\n".join(lines)
