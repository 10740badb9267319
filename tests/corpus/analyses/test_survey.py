"""One pass: planted documents, any number of processes, damaged folders."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from arriero.corpus.analyses.counts import added
from arriero.corpus.analyses.lists import read_identity_terms, read_pronouns
from arriero.corpus.analyses.removed import removed_examples
from arriero.corpus.analyses.sampling import drawn_number
from arriero.corpus.analyses.survey import Settings, Survey, survey
from arriero.records import UserError
from tests.corpus.analyses.built import build, document, write

ENGLISH = "The old bridge fell down in March, and nobody has crossed the river since then. "
GERMAN = "Die alte Brücke ist im März eingestürzt, und niemand hat seither den Fluss überquert. "
CODE = "import os\n\ndef area(r):\n    pi = 3.14\n    return pi * r * r\n"


def settings(workers: int = 1) -> Settings:
    return Settings(read_pronouns(), read_identity_terms(), workers=workers)


def surveyed(corpus: Path, workers: int = 1) -> Survey:
    return survey(corpus, settings(workers), lambda _: None)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    web = [
        document("a", ENGLISH + "She sat there."),
        document("b", ENGLISH + "A Christian, he said."),
        document("c", GERMAN),
    ]
    code = [document("d", CODE, "code"), document("e", "", "code"), document("f", "x", "code")]
    return build(tmp_path / "corpus", {"web": [web[:1], web[1:], []], "code": [code]})


def test_planted_documents(corpus: Path) -> None:
    found = surveyed(corpus).by_source
    web, code = found["web"], found["code"]
    assert web[("documents",)] == 3
    assert web[("english",)] == web[("language", "en")] == 2
    assert web[("language", "de")] == 1
    assert code[("language", "code")] == 1
    assert code[("language", "unknown")] == 2
    assert code[("documents",)] == 3
    assert code[("characters",)] == len(CODE) + 1
    assert web[("bytes",)] == web[("characters",)] + 4  # Brücke, März, eingestürzt, überquert
    assert (web[("pronouns", "she")], web[("pronouns", "he")]) == (1, 1)
    assert web[("term", "religion", "christian")] == 1
    assert code[("length", "0")] == code[("length", "1")] == 1
    total = added(found.values())
    assert total[("documents",)] == 6


@pytest.mark.slow
def test_any_number_of_processes_counts_the_same(corpus: Path) -> None:
    one, three = surveyed(corpus), surveyed(corpus, workers=3)
    assert one.by_source == three.by_source
    assert list(one.by_source) == list(three.by_source) == ["web", "code"]
    assert set(one.seconds) == set(three.seconds)


def test_other_files_and_order_count_the_same(tmp_path: Path, corpus: Path) -> None:
    rows = [document("c", GERMAN), document("b", ENGLISH + "A Christian, he said.")]
    rows += [document("a", ENGLISH + "She sat there.")]
    code = [document("f", "x", "code"), document("d", CODE, "code"), document("e", "", "code")]
    other = build(tmp_path / "other", {"web": [rows], "code": [[each] for each in code]})
    assert surveyed(other).by_source == surveyed(corpus).by_source


def test_an_empty_corpus_and_no_documents(tmp_path: Path) -> None:
    assert surveyed(build(tmp_path / "none", {})).by_source == {}
    found = surveyed(build(tmp_path / "empty", {"web": [[]]}))
    assert added(found.by_source.values()) == {}


def test_what_is_no_built_corpus(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="no built corpus"):
            surveyed(path)


def test_damaged_files_are_named(corpus: Path) -> None:
    file = corpus / "documents" / "web" / "00001.jsonl.zst"
    whole = file.read_bytes()
    file.write_bytes(whole[:-6])
    with pytest.raises(UserError, match=r"00001\.jsonl\.zst"):
        surveyed(corpus)
    for row in ('"text"', '{"id": "a"}', '{"id": 3, "text": "b"}', "{"):
        write(file, [document("a", "fine")])
        lines = json.dumps(document("a", "fine")) + "\n" + row + "\n"
        file.write_text(lines)
        with pytest.raises(UserError, match=r"00001\.jsonl\.zst:2: no document"):
            surveyed(corpus)


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_named(corpus: Path) -> None:
    file = corpus / "documents" / "web" / "00001.jsonl.zst"
    whole = file.read_bytes()
    file.write_bytes(whole[:-6])
    with pytest.raises(UserError, match=r"00001\.jsonl\.zst"):
        surveyed(corpus, workers=2)
    file.write_bytes(whole)
    lists = (read_pronouns(), read_identity_terms())
    dies = Settings(*lists, open_scorer=partial(os._exit, 3), workers=2)
    with pytest.raises(UserError, match="ended before its work was done"):
        survey(corpus, dies, lambda _: None)
    no_model = Settings(*lists, language_model=corpus / "lid.bin", workers=2)
    with pytest.raises(UserError, match="no file; name a fastText model"):
        survey(corpus, no_model, lambda _: None)


def test_settings_out_of_range(corpus: Path) -> None:
    lists = (read_pronouns(), read_identity_terms())
    for wrong in (
        Settings(*lists, threshold=1.5),
        Settings(*lists, toxicity_rate=0),
        Settings(*lists, toxicity_rate=float("nan")),
        Settings(*lists, workers=0),
    ):
        with pytest.raises(UserError):
            survey(corpus, wrong, lambda _: None)


def test_examples_of_what_was_removed(tmp_path: Path) -> None:
    def gone(name: str, rule: str, **more: str) -> dict[str, object]:
        return document(name, f"text {name}", rule=rule, detail=f"of {name}", **more)

    names = [f"n{number}" for number in range(9)]
    removed = {
        "web": [gone(name, "short") for name in names] + [gone("x", "duplicate")],
        "books": [document("y", "z" * 900, "books", rule="short", detail="")],
    }
    corpus = build(tmp_path / "corpus", {"web": [[]], "books": [[]]}, removed)
    examples = removed_examples(corpus, seed=3)
    drawn = sorted([*names, "y"], key=lambda name: drawn_number(name, 3))[:3]
    assert [each["id"] for each in examples["short"]] == drawn
    assert list(examples) == ["duplicate", "short"]
    assert all(len(each["text"]) <= 401 for each in examples["short"])
    assert examples["duplicate"] == [
        {"id": "x", "source": "web", "where": "a.jsonl:1", "detail": "of x", "text": "text x"}
    ]
    write(corpus / "removed" / "web" / "00000.jsonl.zst", removed["web"][::-1])
    assert removed_examples(corpus, seed=3) == examples
