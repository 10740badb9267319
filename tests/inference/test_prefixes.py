"""Which row begins like a prompt: against comparing them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arriero.inference.prefixes import SHORTEST, Prefixes


def alike(first: list[int], second: list[int]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def test_by_hand() -> None:
    prefixes = Prefixes(3)
    start = list(range(20))
    prefixes.put(0, [*start, 7, 7], 22)
    prefixes.put(1, [*start, 7, 8], 18)
    assert prefixes.longest([*start, 7, 7, 9]) == (0, 22, 22)
    assert prefixes.longest([*start, 7, 8, 9]) == (0, 21, 22)
    prefixes.computed[1] = 22
    assert prefixes.longest([*start, 7, 8, 9]) == (1, 22, 22)
    assert prefixes.longest(start[:10])[1] == 0, "too short to be worth it"
    prefixes.put(0, [5] * 20, 20)
    assert prefixes.longest([*start, 7, 7, 9])[0] == 1


STARTS = st.integers(0, 1).map(lambda kind: [kind] * SHORTEST)
TOKENS = st.builds(
    lambda start, rest: start + rest, STARTS, st.lists(st.integers(0, 1), max_size=6)
)


@given(
    puts=st.lists(st.tuples(st.integers(0, 3), TOKENS, st.integers(0, 30)), max_size=8),
    prompt=TOKENS,
)
def test_it_finds_the_longest(puts: list[tuple[int, list[int], int]], prompt: list[int]) -> None:
    prefixes = Prefixes(4)
    rows: dict[int, tuple[list[int], int]] = {}
    for row, tokens, computed in puts:
        rows[row] = tokens, min(computed, len(tokens))
        prefixes.put(row, *rows[row])
    ready = {row: min(alike(tokens, prompt), computed) for row, (tokens, computed) in rows.items()}
    longest = max(ready.values(), default=0)
    source, shared, coming = prefixes.longest(prompt)
    assert shared == (longest if longest >= SHORTEST else 0)
    if shared:
        assert ready[source] == shared
    whole = max((alike(tokens, prompt) for tokens, _ in rows.values()), default=0)
    assert coming == (whole if whole >= SHORTEST else 0)
