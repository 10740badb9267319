"""The dumps: the same for the same seed, and a truth that holds when it is counted again."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arriero.world import dump_texts
from arriero.world.dumps import PRIVATE_SITE, SHARES, similarity, write_dumps


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    write_dumps(folder, 1_500)
    return folder


@pytest.fixture(scope="module")
def truth(dumps: Path) -> dict[str, Any]:
    return json.loads((dumps / "truth.json").read_text())


def rows(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in text.splitlines()]


def at(dumps: Path, planted: list[Any]) -> dict[str, Any]:
    """The row of a planted document."""
    source, file, place = planted
    folder = dumps / source if (dumps / source).is_dir() else dumps
    return rows(folder / file)[place - 1]


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_for_the_same_seed_and_other_for_another(dumps: Path, tmp_path: Path) -> None:
    write_dumps(tmp_path / "again", 1_500)
    write_dumps(tmp_path / "other", 1_500, seed=1)
    assert content(tmp_path / "again") == content(dumps)
    assert content(tmp_path / "other").keys() == content(dumps).keys()
    assert all(content(tmp_path / "other")[name] != data for name, data in content(dumps).items())


def test_shares(dumps: Path) -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    pages = sum(len(rows(path)) for path in (dumps / "web").iterdir())
    assert pages == round(SHARES["web"] * 1_500)


def test_copies_are_what_the_truth_says(dumps: Path, truth: dict[str, Any]) -> None:
    for one in truth["exact"]:
        texts = [at(dumps, one[name])["text"] for name in ("document", "of")]
        assert len({" ".join(text.casefold().split()) for text in texts}) == 1
    levels = Counter[bool]()
    for one in truth["near"]:
        a, b = (at(dumps, one[name])["text"] for name in ("document", "of"))
        assert one["jaccard"] == pytest.approx(similarity(a, b), abs=1e-6)
        levels[one["jaccard"] >= 0.85] += 1
    assert min(levels[True], levels[False]) > 10


def test_similarity_by_hand() -> None:
    assert similarity("a b c d e f g", "A b c, d e f h") == 0.5


def test_private_site_and_identifiers(dumps: Path, truth: dict[str, Any]) -> None:
    pages = [row for path in sorted((dumps / "web").iterdir()) for row in rows(path)]
    private = [row for row in pages if row["url"].split("/")[2].endswith(PRIVATE_SITE)]
    assert len(private) == len(truth["site"]) > 0
    others = [row["text"] for row in pages if row not in private]
    assert sum(text.count("@") for text in others) == truth["identifiers"]["web"]["email"]
    assert sum(text.count("(") for text in others) == truth["identifiers"]["web"]["phone"]


def test_cards_check() -> None:
    import random

    for seed in range(50):
        digits = [int(c) for c in dump_texts.card(random.Random(seed)) if c != " "]
        doubled = [d * 2 - 9 * (d > 4) if place % 2 == 0 else d for place, d in enumerate(digits)]
        assert len(digits) == 16
        assert sum(doubled) % 10 == 0


def test_toxic_lines_are_those_and_no_others(dumps: Path, truth: dict[str, Any]) -> None:
    insults = set(dump_texts.INSULTS)
    for one in truth["toxic"]:
        lines = at(dumps, one["document"])["text"].split("\n")
        bad = [n for n, line in enumerate(lines) if insults & set(re.findall(r"\w+", line))]
        assert (bad, len(lines)) == (one["lines"], one["of"])
    labelled = rows(dumps / "toxic-lines.jsonl")
    assert sum(row["toxic"] for row in labelled) == len(labelled) // 2
    for row in labelled:
        assert bool(insults & set(re.findall(r"\w+", row["text"]))) == bool(row["toxic"])


def test_letters_have_the_pronoun_and_the_term_that_they_say(
    dumps: Path, truth: dict[str, Any]
) -> None:
    forms = {"she": {"she", "her"}, "he": {"he", "his"}, "they": {"they", "their"}, "": set()}
    seen = Counter[str]()
    for one in truth["letters"]:
        words = set(re.findall(r"\w+", at(dumps, one["document"])["text"].lower()))
        for person, form in forms.items():
            assert (form <= words) if one["person"] == person else not (form & words)
        assert not one["term"] or one["term"] in words
        seen[one["person"]] += 1
    assert seen["he"] > seen["she"] > 0


def test_leaks_hold_the_question_but_for_their_edits(dumps: Path, truth: dict[str, Any]) -> None:
    questions = {row["id"]: row["question"].split() for row in rows(dumps / "benchmark.jsonl")}
    kinds = Counter[str]()
    for one in truth["leaks"]:
        words = at(dumps, one["document"])["text"].replace(". ", " ").split()
        question = questions[one["question"]]
        best = min(
            (
                [n for n, word in enumerate(question) if words[start + n].rstrip(".") != word]
                for start in range(len(words) - len(question) + 1)
            ),
            key=len,
        )
        assert best == one["places"]
        kinds[one["edit"]] += 1
    assert len(kinds) >= 4


def test_every_tongue_is_there(truth: dict[str, Any]) -> None:
    assert {one["language"] for one in truth["languages"]} == {*dump_texts.TONGUES, "old"}
