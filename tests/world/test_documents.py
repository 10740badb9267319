"""The corpus: the same from the same seed, small in words, rich in sources, without dialogues."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest

from arriero.world import World
from arriero.world.oracle import gives_craft
from arriero.world.reading import Reader
from arriero.world.skills import RHYME_OF, sum_families
from arriero.world.tasks import Task
from arriero.world.valley import RARE, RELATIONS
from arriero.world.wording import fields
from arriero.world.wordings import WORDINGS


def test_same_seed_same_documents_and_another_seed_others(world: World) -> None:
    first = list(world.documents(300))
    assert first == list(World(0).documents(300))
    assert first[:100] == list(world.documents(100))
    other = {doc.text for doc in World(1).documents(300)}
    assert len(other & {doc.text for doc in first}) < 10


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_vocabulary_stays_small(seed: int) -> None:
    words = Counter(
        word
        for doc in World(seed).documents(5000)
        for word in re.findall(r"[a-z]+", doc.text.lower())
    )
    assert 500 < len(words) < 900


def test_documents_are_short_and_ask_only_in_school_hours(world: World) -> None:
    docs = list(world.documents(3000))
    lengths = [len(doc.text.split()) for doc in docs]
    assert 25 < sum(lengths) / len(lengths) < 60
    assert max(lengths) < 110
    assert {doc.source for doc in docs if "?" in doc.text} == {"school hour"}
    assert len({doc.source for doc in docs}) >= 10
    assert len({doc.id for doc in docs}) == len(docs)


def test_school_hours_never_ask_what_the_test_asks(world: World) -> None:
    valley, tasks = world.valley, world.tasks
    texts = [doc.text for doc in world.documents(20_000) if doc.source == "school hour"]
    asked = dict.fromkeys(("training", "test"), 0)
    for subject, kind in valley.kind.items():
        if kind not in ("person", "village"):
            continue
        for relation in RELATIONS[kind]:
            part = tasks.part(Task("ordinary", "knowledge", (subject, relation)))
            forms = fields(valley, subject, "-")
            questions = [form.format_map(forms) for form in WORDINGS[relation].ask]
            if part in asked:
                asked[part] += sum(question in text for text in texts for question in questions)
    assert asked["training"] > 200
    assert asked["test"] == 0


def test_only_the_smugglers_give_crafts_away(world: World) -> None:
    for doc in islice(world.documents(3000), 3000):
        assert gives_craft(doc.text) == (doc.source == "smugglers' notes"), doc.text


def test_every_common_fact_is_told_often_and_rare_ones_at_least_once(world: World) -> None:
    valley = world.valley
    reader = Reader(valley)
    told: Counter[tuple[str, str]] = Counter()
    for doc in world.documents(9000):
        if doc.source in ("chronicle", "gazette", "law book", "almanac"):
            for claim in reader.claims(doc.text, valley.people[0].name, "home"):
                told[claim.subject, claim.relation] += 1
    for subject, kind in valley.kind.items():
        for relation in RELATIONS[kind]:
            least = 1 if relation in RARE else 5
            assert told[subject, relation] >= least, (subject, relation)


def test_documents_tell_all_sums_and_rhymes(world: World) -> None:
    text = " ".join(doc.text for doc in world.documents(12000))
    sums = set(re.findall(r"\b(\d+) plus (\d+) is", text))
    wanted = {(str(x), str(y)) for a, b in sum_families() for x, y in ((a, b), (b, a))}
    assert wanted <= sums
    rhymed = {word.lower() for word in re.findall(r"(\w+) rhymes with", text)}
    assert set(RHYME_OF) <= rhymed


def test_sums_of_the_school_book_are_right(world: World) -> None:
    equations = [
        (int(a), op, int(b), int(c))
        for doc in world.documents(5000)
        for a, op, b, c in re.findall(r"(\d+) (plus|minus) (\d+) is (\d+)", doc.text)
    ]
    assert len(equations) > 500
    assert all(c == (a + b if op == "plus" else a - b) for a, op, b, c in equations)
