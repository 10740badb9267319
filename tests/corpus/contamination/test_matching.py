"""Matches: every pattern that is allowed, none that is not, against a reference in words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from arriero.corpus.contamination.matching import Rule, longest_matches, samples_of
from arriero.corpus.contamination.suffixes import suffix_order
from arriero.records import UserError
from tests.corpus.contamination.reference import contaminated, longest
from tests.corpus.contamination.test_suffixes import text_of_documents

PAPER = Rule()
PASSAGE = list(range(100, 120))

Found = tuple[list[list[bool]], list[int]]


def marked(samples: list[list[int]], documents: Sequence[Sequence[int]], rule: Rule) -> Found:
    """Whether each token of each sample is contaminated, and its longest match."""
    text = text_of_documents(documents)
    rows = samples_of(samples)
    lengths, places = longest_matches(text, suffix_order(text), rows, rule)
    marks: list[list[bool]] = []
    most: list[int] = []
    for sample, begin in zip(samples, rows.starts.tolist(), strict=False):
        own = [False] * len(sample)
        for i, length in enumerate(lengths[begin : begin + len(sample)].tolist()):
            own[i : i + length] = [True] * length
            if length:
                place = int(places[begin + i])
                tail = np.asarray(sample[i : i + length]) + 1
                different = text[place : place + length] != tail
                assert not different[: rule.exact_prefix].any()
                assert different.sum() <= rule.budget
                assert not different[-1]
        marks.append(own)
        most.append(int(lengths[begin : begin + len(sample)].max(initial=0)))
    return marks, most


def changed(passage: Sequence[int], places: Sequence[int]) -> list[int]:
    return [500 + k if k in places else token for k, token in enumerate(passage)]


def span(begin: int, end: int, size: int) -> list[bool]:
    return [begin <= k < end for k in range(size)]


@pytest.mark.parametrize("num", range(5))
def test_every_allowed_pattern_is_found_whole(way: str, num: int) -> None:
    # Up to four of the nine tokens between the exact beginning and the last one.
    patterns = list(combinations(range(10, 19), num))
    samples = [[1, 2, *changed(PASSAGE, places), 3] for places in patterns]
    marks, most = marked(samples, [[7, *PASSAGE, 8]], PAPER)
    assert marks == [span(2, 22, 23)] * len(patterns)
    assert most == [20] * len(patterns)


def test_five_that_differ_end_the_match_before_the_fifth(way: str) -> None:
    patterns = list(combinations(range(10, 19), 5))
    samples = [changed(PASSAGE, places) for places in patterns]
    ends = []
    for places in patterns:
        kept = [k for k in range(places[4]) if k not in places]
        ends.append(kept[-1] + 1 if kept[-1] >= 10 else 0)
    marks, most = marked(samples, [PASSAGE], PAPER)
    assert marks == [span(0, end, 20) for end in ends]
    assert most == ends
    assert {0, 18} <= set(ends)


@pytest.mark.parametrize("place", range(10))
def test_none_may_differ_in_the_first_ten(way: str, place: int) -> None:
    # What is left after the difference is 10 tokens at most in a passage of 11 and `place`.
    sample = changed(PASSAGE[: place + 11], [place])
    assert marked([sample], [PASSAGE], PAPER)[0] == [[False] * len(sample)]


def test_the_eleventh_may_differ_but_not_be_the_last(way: str) -> None:
    eleven, twelve = changed(PASSAGE[:11], [10]), changed(PASSAGE[:12], [10])
    marks, _ = marked([eleven, twelve, PASSAGE[:10], PASSAGE[:11]], [PASSAGE], PAPER)
    assert marks == [[False] * 11, [True] * 12, [False] * 10, [True] * 11]


@pytest.mark.parametrize("num", range(1, 5))
def test_no_difference_trails(way: str, num: int) -> None:
    sample = changed(PASSAGE, range(20 - num, 20))
    assert marked([sample], [PASSAGE], PAPER)[0] == [span(0, 20 - num, 20)]


@pytest.mark.parametrize("cut", range(1, 20))
def test_no_match_crosses_a_border_of_documents(way: str, cut: int) -> None:
    marks, _ = marked([PASSAGE], [PASSAGE[:cut], PASSAGE[cut:]], PAPER)
    left = range(cut) if cut >= 11 else range(0)
    right = range(cut, 20) if 20 - cut >= 11 else range(0)
    assert marks == [[k in left or k in right for k in range(20)]]


def test_no_match_crosses_a_border_of_samples(way: str) -> None:
    halves = [PASSAGE[:10], PASSAGE[10:]]
    assert marked(halves, [PASSAGE], PAPER)[0] == [[False] * 10] * 2


def test_empty_samples_and_documents(way: str) -> None:
    marks, most = marked([[], PASSAGE, []], [[], PASSAGE, []], PAPER)
    assert (marks, most) == ([[], [True] * 20, []], [0, 20, 0])


@pytest.mark.parametrize("alphabet", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_random_cases(way: str, alphabet: int, seed: int) -> None:
    draw = random.Random(10 * alphabet + seed)
    for _ in range(250 if way == "native" else 60):
        prefix = draw.randrange(1, 7)
        rule = Rule(prefix + draw.randrange(3), draw.randrange(5), prefix)
        documents = [_row(draw, alphabet, 25) for _ in range(draw.randrange(1, 5))]
        samples = [_row(draw, alphabet, 25) for _ in range(3)]
        samples.append(_altered(draw, draw.choice(documents), alphabet))
        marks, most = marked(samples, documents, rule)
        assert marks == [contaminated(sample, documents, rule) for sample in samples]
        # Where every match begins inside an earlier one only the earlier is told.
        assert most[3] == longest(samples[3], documents, rule)


@pytest.mark.parametrize("seed", range(4))
def test_random_cases_under_the_paper_s_rule(way: str, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150 if way == "native" else 40):
        documents = [_row(draw, 4, 60) for _ in range(3)]
        samples = [_altered(draw, document, 4) for document in documents]
        marks, _ = marked(samples, documents, PAPER)
        assert marks == [contaminated(sample, documents, PAPER) for sample in samples]


def test_a_passage_in_many_documents(way: str) -> None:
    # Copied 600 times with other endings: more than one batch of the trie's children.
    draw = random.Random(3)
    documents = [[*PASSAGE, *(draw.randrange(2) for _ in range(12))] for _ in range(600)] + [
        [5, 6, *PASSAGE, 1, 0, 1, 1, 0, 0, 1, 9]
    ]
    sample = [5, 6, *PASSAGE, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0]
    rule = Rule(budget=1)
    assert marked([sample], documents, rule)[0] == [contaminated(sample, documents, rule)]


def test_of_equal_matches_the_earliest_is_named(way: str) -> None:
    text = text_of_documents([[9, 9, *PASSAGE], PASSAGE, PASSAGE])
    lengths, places = longest_matches(text, suffix_order(text), samples_of([PASSAGE]), PAPER)
    assert lengths.tolist() == [20] + [0] * 19
    assert places.tolist()[0] == 2


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ((9, 4, 10), "an exact beginning of 10 tokens in matches of 9"),
        ((11, 4, 0), "an exact beginning of 0 tokens"),
        ((11, -1, 10), "-1 tokens that may differ"),
    ],
)
def test_rules_that_are_none(rule: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rule(*rule)


def _row(draw: random.Random, alphabet: int, most: int) -> list[int]:
    return [draw.randrange(alphabet) for _ in range(draw.randrange(most + 1))]


def _altered(draw: random.Random, document: Sequence[int], alphabet: int) -> list[int]:
    """A part of a document with some tokens changed, dropped or put in."""
    begin = draw.randrange(len(document) + 1)
    row = list(document[begin:])
    for _ in range(draw.randrange(6)):
        place = draw.randrange(len(row) + 1)
        row[place : place + draw.randrange(2)] = [draw.randrange(alphabet)] * draw.randrange(2)
    return row
