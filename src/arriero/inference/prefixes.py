"""Which rows of the cache begin like a prompt."""

from __future__ import annotations

from collections.abc import Sequence

# Shorter beginnings are computed again: finding and copying them costs more. Every chat prompt
# begins with the same few tokens.
SHORTEST = 16


class Prefixes:
    """The tokens that the rows hold, found by how they begin.

    Attributes:
        tokens: of each row; a sequence under way adds to its own.
        computed: how many of them the cache holds.
    """

    def __init__(self, num_rows: int) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(num_rows)]
        self.computed = [0] * num_rows
        self._starts: list[tuple[int, ...]] = [()] * num_rows
        self._rows: dict[tuple[int, ...], set[int]] = {}

    def put(self, row: int, tokens: list[int], computed: int) -> None:
        """Say what a row holds from now on; `tokens` is kept and may grow."""
        self._rows.get(self._starts[row], set()).discard(row)
        self.tokens[row], self.computed[row] = tokens, computed
        self._starts[row] = start = tuple(tokens[:SHORTEST])
        if len(start) == SHORTEST:
            self._rows.setdefault(start, set()).add(row)

    def longest(self, prompt: Sequence[int]) -> tuple[int, int, int]:
        """The row whose computed tokens share most with a prompt.

        Returns:
            The row, how many tokens it shares (0 below SHORTEST), and how many some row will
            share once what it was given is computed.
        """
        best = shared = coming = 0
        for row in sorted(self._rows.get(tuple(prompt[:SHORTEST]), ())):
            alike = _num_alike(self.tokens[row], prompt)
            coming = max(coming, alike)
            ready = min(alike, self.computed[row])
            if ready > shared:
                best, shared = row, ready
        if shared < SHORTEST:
            shared = 0
        return best, shared, coming


def _num_alike(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning, by halving: slices compare fast."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
