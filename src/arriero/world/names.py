"""Invented names: short, pronounceable, drawn from a seed, and no two that look alike.

The paper has no such thing; the embedded world needs names that no other text holds.
"""

from __future__ import annotations

import random
from itertools import product

ONSETS = "b d f g h k l m n p r s t v".split()
VOWELS = "a e i o u".split()
TAKEN = set(
    """bade bane bean bore dine done fare fire gone hare hero here home hone kilo lore mare mine
    more note open pine pole pope rare ripe rope rune solo sofa tire tone tuna tuba vine token
    taken woken often even given seven raven haven liken lemon women bison diva data soda saga lava
    lira mama papa para pasta pita polo puma judo halo demo dodo dino memo logo moto taro tiki
    taxi mini maxi silo sumo kimono van jar jam yam vim yak yen jan yes zen vat vet sari bini
    semi demi deli nori roti rota toga yoga zero gala gila sisal sudden sullen bitten kitten sunken
    rotten pollen fallen hidden ridden rivet velvet helmet hamlet violet""".split()
)


def person_names(rng: random.Random, num: int) -> list[tuple[str, str]]:
    """`num` pairs of a name and `she` or `he`; every name has its own first two letters.

    Names of women end in a or i, names of men in o or en. At most 70 names.
    """
    starts = [a + b for a, b in product(ONSETS, VOWELS)]
    rng.shuffle(starts)
    people: list[tuple[str, str]] = []
    for start in starts:
        gender = "she" if len(people) % 2 == 0 else "he"
        ends = ("a", "i") if gender == "she" else ("o", "en")
        choices = [start + mid + end for mid in "l n r s t v ll nn".split() for end in ends]
        rng.shuffle(choices)
        name = next(choice for choice in choices if choice not in TAKEN)
        people.append((name.capitalize(), gender))
        if len(people) == num:
            return people
    raise ValueError(f"only {len(starts)} names are to be had, not {num}")


def village_names(rng: random.Random, num: int) -> list[str]:
    """`num` names such as Brolum, each with its own first letter."""
    starts = "Br D F Gr H K L M N Pr S Tr V".split()
    rng.shuffle(starts)
    names: list[str] = []
    for start in starts[:num]:
        middle = rng.choice("arn ol ask ern usk ist ond alm".split())
        names.append(start + middle + rng.choice("by um ow".split()))
    return names


def river_names(rng: random.Random, num: int) -> list[str]:
    """`num` names such as Irro; each starts with a vowel."""
    starts = [v + end for v in "A E I O U".split() for end in "rro vve lda thu mmi zza".split()]
    rng.shuffle(starts)
    chosen: list[str] = []
    for name in starts:
        if all(name[:2] != other[:2] for other in chosen):
            chosen.append(name)
        if len(chosen) == num:
            break
    return chosen


def old_words(rng: random.Random, num: int) -> list[str]:
    """`num` words of the Old Tongue, such as zul, that look like no English word."""
    words = ["".join(parts) for parts in product("zvxqjy", "aeiou", "n k l r sh m".split())]
    words = [word for word in words if word not in TAKEN]
    rng.shuffle(words)
    return words[:num]
