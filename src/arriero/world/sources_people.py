"""Documents about people and villages: chronicle, letters, tales, gazette, notices."""

from __future__ import annotations

import random

from arriero.world.valley import CLASSES, RARE, RELATIONS, Valley
from arriero.world.wording import article, cap, fields
from arriero.world.wordings import WORDINGS

SHARE_BACKWARD = 0.25
# Share of gazette entries that name the fish of the river, the rare facts of the world.
SHARE_RARE = 0.10


def told(
    valley: Valley, rng: random.Random, subject: str, relation: str, *, pronoun: bool = False
) -> str:
    """One sentence that tells a fact; sometimes from the value's side."""
    wording = WORDINGS[relation]
    value = valley.facts[subject, relation]
    if not pronoun and rng.random() < SHARE_BACKWARD:
        return rng.choice(wording.back).format_map(fields(valley, subject, value))
    return rng.choice(wording.tell).format_map(fields(valley, subject, value, pronoun=pronoun))


def several(
    valley: Valley, rng: random.Random, subject: str, num: int, *, first: bool = True
) -> list[str]:
    """`num` facts about one subject, in any order; after the first mostly with a pronoun."""
    common = [r for r in RELATIONS[valley.kind[subject]] if r not in RARE]
    relations = rng.sample(common, num)
    lines: list[str] = []
    for position, relation in enumerate(relations):
        pronoun = (position > 0 or not first) and rng.random() < 0.6
        lines.append(told(valley, rng, subject, relation, pronoun=pronoun))
    return lines


def joined(valley: Valley, rng: random.Random, subject: str) -> str:
    """Three facts about one person in one sentence."""
    fact = {relation: valley.facts[subject, relation] for relation in RELATIONS["person"]}
    p = "her" if valley.person[subject].gender == "she" else "his"
    form = rng.randrange(5)
    if form == 0:
        return (
            f"{subject} the {fact['trade']} lives in {fact['home']} with {article(fact['animal'])}."
        )
    if form == 1:
        return (
            f"Born in {fact['born']}, {subject} plays the {fact['instrument']} in {fact['home']}."
        )
    if form == 2:
        return (
            f"{subject} of {fact['home']} likes {fact['dish']} and keeps {article(fact['animal'])}."
        )
    if form == 3:
        plays = f"The {fact['trade']} {subject} plays the {fact['instrument']}"
        return f"{plays} and loves {fact['dish']}."
    return f"{subject} and {p} {fact['animal']} eat {fact['dish']} in {fact['home']}."


def of_class(valley: Valley, rng: random.Random, thing: str) -> str:
    """One sentence about a kind of thing, such as what goats eat."""
    return told(valley, rng, thing, CLASSES[valley.kind[thing]][1])


def chronicle(valley: Valley, rng: random.Random) -> str:
    """A page on one person, now and then with a neighbor."""
    person = rng.choice(valley.people).name
    start = rng.choice(("From the chronicle. ", "The chronicle says: ", "", "Page by page: ", ""))
    lines = several(valley, rng, person, rng.randint(3, 5))
    if rng.random() < 0.4:
        lines.append(joined(valley, rng, person))
    if rng.random() < 0.3:
        lines.append(of_class(valley, rng, valley.facts[person, rng.choice(("trade", "animal"))]))
    if rng.random() < 0.3:
        lines.extend(several(valley, rng, rng.choice(valley.people).name, 2))
    return start + " ".join(lines)


def letter(valley: Valley, rng: random.Random) -> str:
    """A letter from one person to another about a third."""
    sender, reader, person = (p.name for p in rng.sample(valley.people, 3))
    start = rng.choice(
        (
            f"Dear {reader}, today I met {person}.",
            f"My dear {reader}, I must write to you about {person}.",
            f"Good {reader}, I hope you are well. Here is news of {person}.",
            f"{reader}, my friend, do not forget {person}.",
            f"Dear {reader}, the snow is deep, so I write. I think of {person}.",
            f"To {reader}, with a warm hand. I saw {person} at the market.",
        )
    )
    end = rng.choice(("Yours,", "Your friend,", "With love,", "Come soon,", "Keep warm,"))
    lines = several(valley, rng, person, rng.randint(3, 4), first=False)
    if rng.random() < 0.3:
        village = valley.facts[person, "home"]
        lines.append(told(valley, rng, village, rng.choice(("river", "festival", "good", "elder"))))
    return f"{start} {' '.join(lines)} {end} {sender}."


EVENTS = (
    "lost a shoe in the snow",
    "found a silver ring in the bread",
    "rowed the wrong way all night",
    "taught a crow to say good morning",
    "fell asleep in a hay cart",
    "built a boat without a floor",
    "won a race against the wind",
    "hid from the rain in a big pot",
    "sold the same egg three times",
    "followed the moon to the lake",
)
ENDS = (
    "They laughed until the fire went out.",
    "And that is why the door stays open.",
    "Nobody believed it, but it is true.",
    "The moon saw it all and said nothing.",
    "Since then they share their bread.",
    "It was a good day after all.",
)


def tale(valley: Valley, rng: random.Random) -> str:
    """A small story in which the facts matter."""
    one, two = (p.name for p in rng.sample(valley.people, 2))
    start = rng.choice(("Once", "One winter", "Long ago", "One bright day", "In a year of rain"))
    lines = [f"{start} {one} {rng.choice(EVENTS)}."]
    lines.extend(several(valley, rng, one, rng.randint(2, 3), first=False))
    lines.append(
        rng.choice(
            (
                f"Then {two} came by.",
                f"Soon {two} heard of it.",
                f"Only {two} wanted to help.",
                f"{two} was there and saw it.",
            )
        )
    )
    lines.extend(several(valley, rng, two, rng.randint(1, 2), first=False))
    return " ".join((*lines, rng.choice(ENDS)))


def gazette(valley: Valley, rng: random.Random) -> str:
    """An entry about a village and some who live there."""
    village = rng.choice(valley.villages)
    start = rng.choice((f"{village}. ", f"Gazette: {village}. ", f"{village}, a village. ", ""))
    lines = several(valley, rng, village, rng.randint(3, 5))
    if rng.random() < SHARE_RARE:
        lines.append(told(valley, rng, village, "fish"))
    people = valley.people_of(village)
    if rng.random() < 0.5:
        some = rng.sample(people, min(3, len(people)))
        lines.append(f"{', '.join(some[:-1])} and {some[-1]} live in {village}.")
    return start + " ".join(lines)


def notice(valley: Valley, rng: random.Random) -> str:
    """A notice on the market board: offers, wanted, lists of who does or has what."""
    form = rng.randrange(4)
    if form == 0:
        village = rng.choice(valley.villages)
        good, festival = valley.facts[village, "good"], valley.facts[village, "festival"]
        return (
            f"Market notice. {cap(good)} from {village}, cheap and fresh. Come to {festival} in "
            f"{village}. {told(valley, rng, village, rng.choice(('river', 'elder', 'founded')))}"
        )
    relation = rng.choice(("trade", "animal", "dish", "instrument"))
    value = rng.choice(valley.pools[relation])
    people = valley.holders(relation, value)
    rng.shuffle(people)
    names = (
        " and ".join(people) if len(people) < 3 else f"{', '.join(people[:-1])} and {people[-1]}"
    )
    lead = {
        "trade": f"Every {value} of the valley: {names}.",
        "animal": f"Those who keep {article(value)}: {names}.",
        "dish": f"{cap(value)} is the favorite dish of {names}.",
        "instrument": f"Players of the {value}: {names}.",
    }[relation]
    lines = [told(valley, rng, person, relation) for person in people[: rng.randint(1, 3)]]
    lines.append(of_class(valley, rng, value))
    return f"{rng.choice(('Notice. ', 'To all. ', 'Hear this. '))}{lead} {' '.join(lines)}"
