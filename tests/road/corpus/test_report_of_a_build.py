"""The report of a corpus that `arriero corpus build` has made: the two agree on what is on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arriero.cli import main
from arriero.corpus.reading import kept_documents
from tests.road.corpus.test_corpus_report import figures_of, page_text

pytestmark = pytest.mark.slow

PARAGRAPH = (
    "She crossed the river in spring, when the water was low, and he told them that the bridge "
    "would be built again before the winter. Number {n} of the letters says so, and it was read "
    "by all who have a house on the bank with the mill of family {n}. "
    "They wrote to one another for years, and nobody had to ask what for. "
)
RECIPE = """
name = "small"
excluded_sites = ["people.example"]

[sources.letters]
paths = "letters.jsonl"
license = "CC0-1.0"
weight = 3

[sources.site]
paths = "site.jsonl"
weight = 1

[identifiers]
mask = "email"

[tokenizer]
vocab_size = 400
max_megabytes = 1.0
"""


def row(number: int, more: str = "", url: str = "") -> dict[str, Any]:
    return {"text": PARAGRAPH.format(n=number) + more, "url": url}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    letters = [row(n * 1_000_003) for n in range(12)]
    letters[3]["text"] += "Write to ann@mill.example or to bob@mill.example."
    letters.append(letters[0])  # an exact duplicate
    letters.append({"text": "Too short.", "url": ""})
    write(folder / "letters.jsonl", letters)
    pages = [row(n * 7_654_321 + 5, url=f"https://mill.example/{n}") for n in range(6)]
    pages += [row(99, url="https://www.people.example/ann")]
    write(folder / "site.jsonl", pages)
    text = RECIPE
    for name in ("letters", "site"):
        text = text.replace(f'"{name}.jsonl"', json.dumps(str(folder / f"{name}.jsonl")))
    (folder / "small.toml").write_text(text, encoding="utf-8")
    built = folder / "corpus"
    # Letters that differ in a number are near-duplicates by any measure; here they may stay.
    command = ["corpus", "build", str(folder / "small.toml"), "--run", str(built)]
    assert main([*command, "--duplicates.near", "false"]) == 0
    assert main(["corpus", "report", str(built)]) == 0
    return built


def test_what_the_build_counted_stands_in_the_report(corpus: Path) -> None:
    build, figures = json.loads((corpus / "build.json").read_text()), figures_of(corpus)
    assert figures["corpus"] == build["hash"]
    assert list(figures["sources"]) == ["letters", "site"]
    for name, source in figures["sources"].items():
        made = build["sources"][name]
        assert source["sizes"]["documents"] == made["kept"]["documents"]
        assert source["sizes"]["characters"] == made["kept"]["characters"]
        assert source["sizes"]["tokens"] == made["tokens"] > 0
        assert source["removed"] == made["removed"]
        assert source["build"]["epochs"] == made["mix"]["epochs"] > 0
    letters, site = figures["sources"]["letters"], figures["sources"]["site"]
    assert letters["sizes"]["documents"] == 12
    assert {rule: row["documents"] for rule, row in letters["removed"].items()} == {
        "exact_duplicate": 1,
        "too_short": 1,
    }
    assert site["sizes"]["documents"] == 6
    [(rule, gone)] = site["removed"].items()
    assert rule == "excluded_site"
    # Its text is kept nowhere, how much it was is.
    assert gone == {"documents": 1, "characters": len(PARAGRAPH.format(n=99))}
    assert letters["build"]["target"] == 0.75
    assert site["build"]["target"] == 0.25
    assert letters["build"]["reached"] + site["build"]["reached"] == pytest.approx(1)
    assert letters["build"]["identifiers"] == {"email": {"documents": 1, "found": 2}}
    assert letters["build"]["masked"] == {"email": 1}


def test_contamination_finds_the_tokenizer_and_a_leak(corpus: Path, tmp_path: Path) -> None:
    kept = next(iter(kept_documents(corpus, "letters"))).text
    samples = [{"id": "leaked", "text": kept[40:240]}, {"id": "clean", "text": "Nothing of it."}]
    write(tmp_path / "evals.jsonl", samples)
    command = ["contamination", str(corpus), str(tmp_path / "evals.jsonl")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "samples.jsonl").read_text().splitlines()
    found = {row["id"]: row for row in map(json.loads, lines)}
    assert found["leaked"]["matches"]
    assert not found["clean"]["matches"]


def test_the_page_shows_it(corpus: Path) -> None:
    text = page_text(corpus)
    for said in (
        "Of 21 documents 18 stayed",
        "letters 75.0% of the mix · target 75.0% · read",
        "letters 2 1 document, masked in 1",
        "excluded_site −1 (4.76%)",
        "exact_duplicate",
    ):
        assert said in text, said
    assert "www.people.example" not in text
