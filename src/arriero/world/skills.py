"""Skills that are not facts: sums, sorted lists, rhymes, formats, the Old Tongue.

Each has its combinations, and sentences that documents and answers share.
"""

from __future__ import annotations

from arriero.world.valley import OLD_ADJECTIVES, OLD_NOUNS, Valley

LARGEST_SUM = 12
LARGEST_SORTED = 9
RHYMES: tuple[dict[str, str], ...] = (
    {
        "goat": "here comes my goat",
        "boat": "down in the boat",
        "coat": "it ate my coat",
        "oat": "it wants an oat",
        "throat": "a bell at its throat",
    },
    {
        "bread": "fresh warm bread",
        "red": "the sky is red",
        "bed": "I go to bed",
        "shed": "the hen is in the shed",
        "thread": "a needle and thread",
    },
    {
        "hay": "a cart of hay",
        "day": "a long good day",
        "clay": "a bowl of clay",
        "gray": "the cat is gray",
        "play": "come out and play",
    },
    {
        "night": "all through the night",
        "light": "a small warm light",
        "bright": "the stars are bright",
        "right": "turn to the right",
        "sight": "a pretty sight",
    },
    {
        "bell": "ring the bell",
        "well": "deep in the well",
        "shell": "a snail in its shell",
        "tell": "a tale to tell",
        "smell": "what a good smell",
    },
    {
        "ring": "a silver ring",
        "king": "a cat like a king",
        "sing": "the birds all sing",
        "spring": "we wait for spring",
        "string": "a piece of string",
    },
    {
        "moon": "the round white moon",
        "spoon": "a wooden spoon",
        "soon": "we eat very soon",
        "noon": "she sleeps until noon",
        "balloon": "he lost his balloon",
    },
    {
        "cake": "a slice of cake",
        "lake": "we swim in the lake",
        "snake": "I saw a snake",
        "rake": "he broke the rake",
        "wake": "the owls all wake",
    },
    {
        "round": "the wheel is round",
        "sound": "a happy sound",
        "ground": "snow on the ground",
        "hound": "the sleepy hound",
        "found": "look what I found",
    },
    {
        "ice": "a house of ice",
        "mice": "three little mice",
        "rice": "a bowl of rice",
        "price": "a very fair price",
        "nice": "the day is nice",
    },
)
RHYME_OF: dict[str, tuple[str, ...]] = {
    word: tuple(other for other in family if other != word) for family in RHYMES for word in family
}
COPY_STYLES: dict[str, tuple[str, str, str]] = {
    "brackets": ("[", "]", " "),
    "stars": ("*", "", " "),
    "dashes": ("", "", " - "),
    "commas": ("", "", ", "),
    "slashes": ("", "", " / "),
}
COPY_WORDS = (
    "goat boat bread shed hay clay night light bell well ring king moon spoon cake lake wool rope "
    "salt drum harp owl cat dog hen milk tree star road snow"
).split()


def sum_families() -> list[tuple[int, int]]:
    """Pairs a <= b with a + b at most 12: each stands for its two sums and two differences."""
    return [(a, b) for a in range(1, LARGEST_SUM) for b in range(a, LARGEST_SUM + 1 - a)]


def phrases() -> list[tuple[str, ...]]:
    """Single words and two-word phrases of the plain tongue that can be put into the Old Tongue."""
    pairs = [(adjective, noun) for adjective in OLD_ADJECTIVES for noun in OLD_NOUNS]
    return [*((word,) for word in (*OLD_NOUNS, *OLD_ADJECTIVES)), *pairs]


def in_old_tongue(valley: Valley, words: tuple[str, ...]) -> str:
    """The phrase word for word; the Old Tongue keeps the order."""
    return " ".join(valley.old[word] for word in words)


def styled(words: tuple[str, ...], style: str) -> str:
    """The words in one of the copying formats."""
    before, after, between = COPY_STYLES[style]
    return between.join(f"{before}{word}{after}" for word in words)
