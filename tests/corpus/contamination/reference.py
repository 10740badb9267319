"""Matches by the definition in words, place by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arriero.corpus.contamination.matching import Rule

Ids = Sequence[int]


def matches(sample: Ids, documents: Sequence[Ids], rule: Rule) -> Iterator[tuple[int, int]]:
    """(first token, length) of every match of a sample with one of the documents."""
    for document in documents:
        for i in range(len(sample)):
            for j in range(len(document)):
                different = 0
                for k in range(min(len(sample) - i, len(document) - j)):
                    if sample[i + k] != document[j + k]:
                        different += 1
                        if k < rule.exact_prefix or different > rule.budget:
                            break
                    elif k + 1 >= rule.min_length:
                        yield i, k + 1


def contaminated(sample: Ids, documents: Sequence[Ids], rule: Rule) -> list[bool]:
    """Whether each token of a sample lies in a match."""
    marked = [False] * len(sample)
    for begin, length in matches(sample, documents, rule):
        marked[begin : begin + length] = [True] * length
    return marked


def longest(sample: Ids, documents: Sequence[Ids], rule: Rule) -> int:
    """Tokens of the longest match; 0 without one."""
    return max((length for _, length in matches(sample, documents, rule)), default=0)
