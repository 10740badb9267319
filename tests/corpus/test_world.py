"""The embedded world's dumps, built: what was planted is found, and nothing else is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from arriero.corpus import reading
from arriero.corpus.build import build
from arriero.corpus.clean import document_id
from arriero.corpus.recipe import load_corpus_recipe
from arriero.corpus.storage import read_json
from arriero.world.dumps import write_dumps
from tests.corpus.conftest import in_this_process

COPIES = ("exact_duplicate", "near_duplicate")


class Built:
    """The corpus, its truth, and where each document went."""

    def __init__(self, folder: Path) -> None:
        recipe = load_corpus_recipe("world", {"tokenizer.vocab_size": 1_000})
        write_dumps(folder / "world", 4_000)
        self.facts = build(recipe, folder, lambda line: None, execute=in_this_process)
        self.truth: dict[str, Any] = read_json(folder / "world" / "truth.json")
        self.kept = {one.id: one for one in reading.kept_documents(folder)}
        self.removed = {one.document.id: one for one in reading.removed_documents(folder)}

    def rule(self, planted: list[Any]) -> str:
        """What removed a planted document; "" if it stayed."""
        source, file, place = planted
        name = document_id(source, file, place)
        return "" if name in self.kept else self.removed[name].rule


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("world"))


def test_all_exact_duplicates_go(built: Built) -> None:
    assert len(built.truth["exact"]) > 80
    assert {built.rule(one["document"]) for one in built.truth["exact"]} <= set(COPIES)


def test_near_duplicates_from_085_on_go(built: Built) -> None:
    alike = [one for one in built.truth["near"] if one["jaccard"] >= 0.85]
    found = [one for one in alike if built.rule(one["document"]) in COPIES]
    assert len(alike) > 80
    assert len(found) >= 0.98 * len(alike)


def test_nothing_below_07_goes(built: Built) -> None:
    """By the words themselves, for every document that was removed, planted or not."""
    unlike = [one for one in built.truth["near"] if one["jaccard"] < 0.7]
    assert len(unlike) > 30
    assert {built.rule(one["document"]) for one in unlike} == {""}
    near = [one for one in built.removed.values() if one.rule == "near_duplicate"]
    assert near
    for one in near:
        stayed = built.kept[one.detail]
        assert _jaccard(one.document.text, stayed.text) >= 0.8


def _jaccard(a: str, b: str) -> float:
    sets = []
    for text in (a, b):
        words = re.findall(r"[^\W_]+", text.casefold())
        sets.append({tuple(words[at : at + 5]) for at in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_of_the_private_site_nothing_is_left(built: Built) -> None:
    assert built.truth["site"]
    assert {built.rule(one) for one in built.truth["site"]} == {"excluded_site"}
    documents = [*built.kept.values(), *(one.document for one in built.removed.values())]
    assert not any("neighbours" in one.url for one in built.kept.values())
    assert all(not one.text for one in documents if "neighbours" in one.url)


def test_each_kind_of_junk_goes_by_its_rule(built: Built) -> None:
    rules = {one["rule"] for one in built.truth["rules"]}
    assert len(rules) == 8
    found = [(one["rule"], built.rule(one["document"])) for one in built.truth["rules"]]
    wrong = [pair for pair in found if pair[0] != pair[1]]
    assert wrong == []


@pytest.mark.parametrize("kind", ["languages", "toxic", "letters", "leaks"])
def test_what_is_to_be_measured_stays(built: Built, kind: str) -> None:
    assert {built.rule(one["document"]) for one in built.truth[kind]} == {""}


def test_identifiers_are_counted_and_masked(built: Built) -> None:
    planted = built.truth["identifiers"]["web"]
    found = built.facts["sources"]["web"]["identifiers"]
    assert {kind: found[kind]["found"] for kind in planted} == planted
    assert built.facts["sources"]["chronicle"]["identifiers"] == {}
    assert not any("@" in one.text for one in built.kept.values())
    assert sum("<email>" in one.text for one in built.kept.values()) == planted["email"]


def test_weights_and_epochs(built: Built) -> None:
    mixes = {name: one["mix"] for name, one in built.facts["sources"].items()}
    assert sum(one["share"] for one in mixes.values()) == pytest.approx(1)
    assert mixes["chronicle"]["weight"] == pytest.approx(0.3)
    assert all(one["epochs"] <= 4 for one in mixes.values())


def test_what_was_drawn_before_leaves_nothing(tmp_path: Path) -> None:
    write_dumps(tmp_path / "a", 120)
    write_dumps(tmp_path / "a", 400)
    write_dumps(tmp_path / "b", 400)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
