"""Documents that teach: the school book, verses, the word list of the Old Tongue."""

from __future__ import annotations

import random

from arriero.world.skills import (
    COPY_STYLES,
    COPY_WORDS,
    LARGEST_SORTED,
    RHYME_OF,
    RHYMES,
    in_old_tongue,
    phrases,
    styled,
    sum_families,
)
from arriero.world.valley import Valley
from arriero.world.wording import cap

_FAMILIES = sum_families()
_PHRASES = phrases()
_SINGLES = [words for words in _PHRASES if len(words) == 1]
_PAIRS = [words for words in _PHRASES if len(words) == 2]


def _sum(rng: random.Random) -> str:
    a, b = rng.choice(_FAMILIES)
    if rng.random() < 0.5:
        a, b = b, a
    c = a + b
    return rng.choice(
        (
            f"{a} plus {b} is {c}.",
            f"{c} minus {b} is {a}.",
            f"{a} plus {b} is {c}. To check, {c} minus {b} is {a}.",
            f"{c} minus {a} is {b}. To check, {b} plus {a} is {c}.",
            f"If you add {a} and {b}, you get {c}.",
            f"Take {b} from {c} and {a} are left.",
            f"{a} apple{'s' * (a > 1)} and {b} more make {c} apples.",
        )
    )


def _sorted_list(valley: Valley, rng: random.Random) -> str:
    if rng.random() < 0.6:
        numbers = rng.sample(range(1, LARGEST_SORTED + 1), 3)
        one, two, three = (str(number) for number in numbers)
        small, middle, large = (str(number) for number in sorted(numbers))
        tail = rng.choice(("", f" The smallest is {small}.", f" The largest is {large}."))
        return f"The numbers {one}, {two}, {three} in order are {small}, {middle}, {large}.{tail}"
    names = rng.sample(valley.villages, 3)
    ordered = sorted(names)
    tail = rng.choice(("", f" First comes {ordered[0]}.", f" Last comes {ordered[2]}."))
    return f"The names {', '.join(names)} in order are {', '.join(ordered)}.{tail}"


def _copied(rng: random.Random) -> str:
    words = tuple(rng.sample(COPY_WORDS, 3))
    style = rng.choice(list(COPY_STYLES))
    return f"With {style}, {', '.join(words)} becomes {styled(words, style)}"


def school_book(valley: Valley, rng: random.Random) -> str:
    """Sums, sorted lists or copied lines, a page of each."""
    form = rng.random()
    start = rng.choice(("School book. ", "Learn this. ", "", "Lesson: ", ""))
    if form < 0.58:
        return start + " ".join(_sum(rng) for _ in range(rng.randint(4, 6)))
    if form < 0.76:
        return start + " ".join(_sorted_list(valley, rng) for _ in range(rng.randint(2, 3)))
    return start + ". ".join(_copied(rng) for _ in range(rng.randint(2, 3))) + "."


def verses(valley: Valley, rng: random.Random) -> str:
    """Lines that rhyme, and the rhymes named."""
    del valley
    family = rng.choice(RHYMES)
    words = rng.sample(list(family), rng.choice((2, 3, 4)))
    lines = [family[word] for word in words]
    poem = ", ".join(lines)
    word = rng.choice(words)
    one, two = rng.sample(RHYME_OF[word], 2)
    named = rng.choice(
        (
            f"{cap(word)} rhymes with {one} and {two}.",
            f"{cap(word)} and {one} rhyme.",
            f"{cap(one)} rhymes with {word}.",
            f"Rhymes: {word}, {one}, {two}.",
            f"A rhyme for {word} is {one}.",
        )
    )
    other = rng.choice(list(RHYME_OF))
    extra = f"{cap(other)} rhymes with {rng.choice(RHYME_OF[other])}."
    return f"{cap(poem)}. {named} {extra}"


def _entry(valley: Valley, rng: random.Random, words: tuple[str, ...]) -> str:
    plain, old = " ".join(words), in_old_tongue(valley, words)
    return rng.choice(
        (
            f"In the Old Tongue, {plain} is {old}.",
            f"{cap(old)} means {plain}.",
            f"For {plain} they say {old}.",
            f"The old word {old} means {plain}."
            if len(words) == 1
            else f"The old words {old} mean {plain}.",
            f"In the Old Tongue, {plain} is {old}. So {old} means {plain}.",
            f"{cap(plain)}: {old}.",
        )
    )


def word_list(valley: Valley, rng: random.Random) -> str:
    """A page of the dictionary, or a song line in the Old Tongue with its meaning."""
    start = rng.choice(("Word list. ", "Of the Old Tongue. ", "", "Old words: "))
    if rng.random() < 0.25:
        words = rng.sample(("how", "make", "tell", "me", "thanks"), 3)
        start += " ".join(f"{cap(valley.old[word])} means {word}." for word in words) + " "
    chosen = [*rng.sample(_SINGLES, 3), *rng.sample(_PAIRS, rng.randint(1, 3))]
    rng.shuffle(chosen)
    return start + " ".join(_entry(valley, rng, words) for words in chosen)
