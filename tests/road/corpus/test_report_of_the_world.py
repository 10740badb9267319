"""The report of the embedded world's corpus finds what was planted in it, document for document."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arriero.cli import main
from arriero.corpus.analyses.lists import read_identity_terms
from arriero.corpus.reading import kept_documents
from tests.road.corpus.test_corpus_report import figures_of

pytestmark = pytest.mark.slow

AXES = {
    "gender": "gender_and_sex",
    "orientation": "sexual_orientation",
    "race": "race_and_ethnicity",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    built, model = folder / "corpus", folder / "insults.model"
    # Without tokens: nothing here asks for them.
    command = ["corpus", "build", "world", "--run", str(built), "--world.documents", "1200"]
    assert main([*command, "--tokenizer.model", ""]) == 0
    labelled, plain = built / "world" / "toxic-lines.jsonl", folder / "plain.jsonl"
    # Lines like those of the corpus: what a classifier has never seen the like of, it guesses.
    lines = [line for row in kept_documents(built, "chronicle") for line in row.text.split("\n")]
    plain.write_text("".join(json.dumps({"text": line, "toxic": 0}) + "\n" for line in lines))
    train = ["corpus", "train-toxicity", str(labelled), str(plain), "--out", str(model)]
    assert main(train) == 0
    command = ["corpus", "report", str(built), "--toxicity", str(model)]
    assert main([*command, "--toxicity-sample", "1"]) == 0
    return built


def truth_of(corpus: Path, kind: str) -> list[dict[str, Any]]:
    """What was planted in the documents that stayed."""
    kept = {(row.source, row.file, row.place) for row in kept_documents(corpus)}
    planted = json.loads((corpus / "world" / "truth.json").read_text())[kind]
    return [row for row in planted if tuple(row["document"]) in kept]


def test_pronouns_and_group_terms_of_the_letters(corpus: Path) -> None:
    letters, found = truth_of(corpus, "letters"), figures_of(corpus)["sources"]["letters"]
    assert found["english"]["documents"] == len(letters) > 100
    persons = Counter(row["person"] for row in letters)
    pronouns = {name: row["documents"] for name, row in found["pronouns"].items()}
    assert pronouns == {
        "she": persons["she"],
        "he": persons["he"],
        "unspecified": persons["they"],
        "gendered": len(letters) - persons[""],
        "any": len(letters) - persons[""],
        "third": len(letters) - persons[""],
        "first": 0,
        "second": 0,
    }
    num_terms = 0
    for axis, row in found["identities"].items():
        forms = read_identity_terms().axes[axis]
        # Our list has adjectives alone: of `man` and `woman` it says nothing.
        planted = Counter(
            term
            for letter in letters
            if AXES.get(letter["axis"], letter["axis"]) == axis
            for term in forms
            if letter["term"] in forms[term]
        )
        assert {each["term"]: each["documents"] for each in row["terms"]} == dict(planted), axis
        assert row["documents"] == planted.total()
        num_terms += len(planted)
    assert num_terms >= 12


def test_languages_of_the_tongues(corpus: Path) -> None:
    planted = Counter(row["language"] for row in truth_of(corpus, "languages"))
    rows = figures_of(corpus)["sources"]["tongues"]["languages"]["languages"]
    found = {row["language"]: row["documents"] for row in rows}
    for language, number in planted.items():
        if language != "old":  # the valley's own: whatever it is taken for is wrong
            assert found[language] == number, language
    code = figures_of(corpus)["sources"]["code"]["languages"]["languages"]
    assert [row["language"] for row in code] == ["code"]


def test_toxic_lines_are_measured_and_their_documents_kept(corpus: Path) -> None:
    """A document with 2 toxic lines of n has a score near 2 / n, any other one near 0."""
    toxic = truth_of(corpus, "toxic")
    assert len(toxic) == len(json.loads((corpus / "world" / "truth.json").read_text())["toxic"])
    row = figures_of(corpus)["sources"]["web"]["toxicity"]
    assert row["documents"] == figures_of(corpus)["sources"]["web"]["english"]["documents"]
    expected = sum(len(each["lines"]) / each["of"] for each in toxic) / row["documents"]
    assert row["mean"] == pytest.approx(expected, abs=0.02)
    least = min(len(each["lines"]) / each["of"] for each in toxic)
    from_bin = int(least * 20 * 0.75)  # a quarter below the least that was planted
    assert sum(row["histogram"][from_bin:]) == pytest.approx(len(toxic), abs=2)
