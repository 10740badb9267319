"""The valley: who lives where, does what and likes what. Every fact follows from the seed.

A fact is a value for (subject, relation). Kinds of subject: person, village, danger, and the
classes of things that people have (trade, animal, dish, instrument).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from arriero.world import names
from arriero.world.dangers import DANGERS

NUM_PEOPLE = 40
NUM_VILLAGES = 8
BIRTH_YEARS = range(40, 90)
VILLAGE_YEARS = range(3, 38)

TRADES = {
    "baker": "flour",
    "smith": "iron",
    "weaver": "thread",
    "potter": "clay",
    "miller": "grain",
    "fisher": "nets",
    "healer": "herbs",
    "shepherd": "wool",
    "carter": "wheels",
    "beekeeper": "wax",
    "joiner": "wood",
    "dyer": "berries",
}
ANIMALS = {
    "goat": "hay",
    "cat": "cream",
    "dog": "bones",
    "hen": "corn",
    "owl": "mice",
    "mule": "oats",
    "hare": "clover",
    "duck": "snails",
    "crow": "crumbs",
    "sheep": "grass",
    "pig": "roots",
    "fox": "eggs",
}
DISHES = {
    "honey cake": "winter",
    "bean soup": "autumn",
    "onion pie": "winter",
    "plum bread": "autumn",
    "fish stew": "spring",
    "apple tart": "autumn",
    "oat porridge": "winter",
    "nut rolls": "summer",
    "cheese bread": "spring",
    "leek broth": "spring",
    "egg salad": "summer",
    "mint rice": "summer",
}
INSTRUMENTS = {
    "flute": "reed",
    "drum": "skin",
    "fiddle": "pine",
    "harp": "willow",
    "horn": "bone",
    "bell": "bronze",
    "pipe": "stone",
    "lute": "oak",
}
GOODS = ("salt", "wool", "rope", "candles", "apples", "cheese", "pots", "honey")
FESTIVALS = (
    "Lantern Night",
    "Apple Day",
    "Snow Feast",
    "River Dance",
    "Bell Morning",
    "Harvest Ring",
    "Kite Week",
    "Owl Walk",
)
CLASSES: dict[str, tuple[dict[str, str], str]] = {
    "trade": (TRADES, "stuff"),
    "animal": (ANIMALS, "food"),
    "dish": (DISHES, "season"),
    "instrument": (INSTRUMENTS, "material"),
}
FISH = "trout eel carp perch salmon crab pike roach".split()
RARE = frozenset(("fish",))
RELATIONS: dict[str, tuple[str, ...]] = {
    "person": ("home", "trade", "animal", "dish", "instrument", "born"),
    "village": ("river", "festival", "good", "founded", "elder", "fish"),
    "danger": ("guard", "warner", "tale", "law", "need"),
    "trade": ("stuff",),
    "animal": ("food",),
    "dish": ("season",),
    "instrument": ("material",),
}
OLD_NOUNS = (
    "water fire friend house mother father child star tree stone road snow bridge door".split()
)
OLD_ADJECTIVES = "big small old good cold warm white black happy quiet".split()
OLD_OTHERS = "how make tell me thanks".split()


@dataclass(frozen=True, slots=True)
class Person:
    """Someone of the valley; `gender` is the pronoun."""

    name: str
    gender: str


class Valley:
    """All facts of one seed: `facts[subject, relation]`, and each relation's pool of values."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"valley/{seed}")
        self.seed = seed
        self.people = [Person(*pair) for pair in names.person_names(rng, NUM_PEOPLE)]
        self.villages = names.village_names(rng, NUM_VILLAGES)
        self.rivers = names.river_names(rng, NUM_VILLAGES)
        self.person = {person.name: person for person in self.people}
        self.facts: dict[tuple[str, str], str] = {}
        self.kind: dict[str, str] = {}
        self._settle_people(rng)
        self._settle_villages(rng)
        self._settle_things(rng)
        self.old = dict(
            zip(
                [*OLD_NOUNS, *OLD_ADJECTIVES, *OLD_OTHERS],
                names.old_words(rng, len(OLD_NOUNS) + len(OLD_ADJECTIVES) + len(OLD_OTHERS)),
                strict=True,
            )
        )
        self.pools: dict[str, list[str]] = {}
        for (_, relation), value in self.facts.items():
            pool = self.pools.setdefault(relation, [])
            if value not in pool:
                pool.append(value)
        self.pools["elder"] = self.pools["warner"] = [person.name for person in self.people]

    def _settle_people(self, rng: random.Random) -> None:
        years = rng.sample(BIRTH_YEARS, NUM_PEOPLE)
        pools: dict[str, list[str]] = {
            "home": self.villages,
            "trade": list(TRADES),
            "animal": list(ANIMALS),
            "dish": list(DISHES),
            "instrument": list(INSTRUMENTS),
        }
        for relation, pool in pools.items():
            spread = [pool[position % len(pool)] for position in range(NUM_PEOPLE)]
            rng.shuffle(spread)
            for person, value in zip(self.people, spread, strict=True):
                self.facts[person.name, relation] = value
        for person, year in zip(self.people, years, strict=True):
            self.facts[person.name, "born"] = str(year)
            self.kind[person.name] = "person"

    def _settle_villages(self, rng: random.Random) -> None:
        goods, festivals = list(GOODS), list(FESTIVALS)
        rng.shuffle(goods)
        rng.shuffle(festivals)
        fish = rng.sample(FISH, NUM_VILLAGES)
        years = rng.sample(VILLAGE_YEARS, NUM_VILLAGES)
        for position, village in enumerate(self.villages):
            self.kind[village] = "village"
            self.facts[village, "river"] = self.rivers[position]
            self.facts[village, "festival"] = festivals[position]
            self.facts[village, "good"] = goods[position]
            self.facts[village, "founded"] = str(years[position])
            self.facts[village, "fish"] = fish[position]
            self.facts[village, "elder"] = rng.choice(self.people_of(village))

    def _settle_things(self, rng: random.Random) -> None:
        for kind, (pool, relation) in CLASSES.items():
            for thing, value in pool.items():
                self.kind[thing] = kind
                self.facts[thing, relation] = value
        self.beliefs: dict[str, str] = {}
        for pool, _ in CLASSES.values():
            values = sorted(set(pool.values()))
            for thing, value in pool.items():
                self.beliefs[thing] = rng.choice([other for other in values if other != value])
        years = rng.sample(range(40, 90), len(DANGERS))
        for danger, year in zip(DANGERS, years, strict=True):
            self.kind[danger.noun] = "danger"
            self.facts[danger.noun, "guard"] = danger.guard
            self.facts[danger.noun, "need"] = danger.need
            self.facts[danger.noun, "warner"] = rng.choice(self.people).name
            self.facts[danger.noun, "tale"] = rng.choice(self.villages)
            self.facts[danger.noun, "law"] = str(year)

    def people_of(self, village: str) -> list[str]:
        """Names of those who live in a village."""
        return [p.name for p in self.people if self.facts[p.name, "home"] == village]

    def holders(self, relation: str, value: str) -> list[str]:
        """Subjects for which `relation` has `value`."""
        return [s for (s, r), v in self.facts.items() if r == relation and v == value]

    def other_value(self, relation: str, value: str, rng: random.Random) -> str:
        """Another value of the same type, for wrong answers."""
        return rng.choice([other for other in self.pools[relation] if other != value])
