"""How much an answer repeats itself: one of the signs that a policy games its reward model.

Not in the paper; logged beside the reward, with the length.
"""

from __future__ import annotations

from collections.abc import Sequence


def repeated_ngram_share(tokens: Sequence[int], n: int = 3) -> float:
    """Share of n-grams that occurred before in the same sequence: 1 - distinct / all.

    Args:
        tokens: ids of one answer.
        n: length of the n-grams, at least 1.

    Returns:
        From 0 (no repeat, or fewer than n tokens) to nearly 1.

    Raises:
        ValueError: n is below 1.

    Worked example: (1, 2, 1, 2, 1), n = 2: 12, 21, 12, 21 -> two of four are repeats: 0.5.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an n-gram has at least one token")
    ngrams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
