"""Withdrawing documents: they are gone everywhere, their copies come back, little is done again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import zstandard

from arriero.corpus import withdraw as module
from arriero.corpus.build import build
from arriero.corpus.reading import kept_documents, removed_documents
from arriero.corpus.recipe import recipe_text
from arriero.corpus.stages import Context, Stage
from arriero.corpus.withdraw import Wanted, withdraw
from arriero.corpus.withdrawn import add_withdrawn
from arriero.records import UserError
from tests.corpus.conftest import in_this_process, prose, recipe_of, write_lines

SECRET = "xylophonist"


@pytest.fixture(autouse=True)
def no_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arriero.corpus.build._executor", lambda: in_this_process)


def corpus_of(tmp_path: Path, name: str = "corpus") -> Path:
    """Three sources; b holds copies of the first text of a, and each has two units."""
    rng = random.Random(0)
    secret = f"{prose(rng)} {SECRET} {prose(rng)}"
    rows = {
        "a": [[{"text": secret, "url": "http://p.example/1"}, {"text": prose(rng)}],
              [{"text": prose(rng), "url": "http://q.p.example/2"}]],
        "b": [[{"text": secret.upper()}, {"text": prose(rng)}], [{"text": prose(rng)}]],
        "c": [[{"text": prose(rng)}], [{"text": prose(rng)}]],
    }  # fmt: skip
    sources: dict[str, Any] = {}
    for source, files in rows.items():
        for number, lines in enumerate(files):
            write_lines(tmp_path / source / f"{number}.jsonl", lines)
        sources[source] = {"paths": [str(tmp_path / source)], "license": f"licence {source}"}
    recipe = recipe_of(sources, unit_megabytes=0.0001, tokenizer={"vocab_size": 320})
    build(recipe, tmp_path / name, lambda line: None)
    return tmp_path / name


def ids(corpus: Path) -> list[str]:
    return [one.id for one in kept_documents(corpus)]


def go(corpus: Path, **wanted: list[str]) -> list[str]:
    said: list[str] = []
    withdraw(
        corpus, Wanted(**{key: frozenset(value) for key, value in wanted.items()}), said.append
    )
    return said


def holding(corpus: Path, word: str) -> list[str]:
    """Files of the corpus that hold a word, compressed or not, whatever its case."""
    found = []
    for path in corpus.rglob("*"):
        if not path.is_file() or path.is_relative_to(corpus / "08-tokenizer"):
            continue
        content = path.read_bytes()
        if path.suffix == ".zst":
            content = zstandard.ZstdDecompressor().stream_reader(content).read()
        if word.encode() in content.lower():
            found.append(str(path.relative_to(corpus)))
    return found


def test_a_document_goes_and_its_copy_comes_back(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    secret = next(one for one in kept_documents(corpus) if SECRET in one.text)
    (copy,) = (one for one in removed_documents(corpus) if one.rule == "exact_duplicate")
    assert (secret.source, copy.document.source, copy.detail) == ("a", "b", secret.id)
    said = go(corpus, ids=[secret.id])
    assert said[0] == "a: 1 documents go"
    assert said[-1] == "1 documents withdrawn; of 6 units 1 were read again"
    assert secret.id not in ids(corpus)
    assert copy.document.id in ids(corpus)


def test_with_all_its_copies_nothing_of_it_is_left_anywhere(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    assert holding(corpus, SECRET)
    texts = [one for one in kept_documents(corpus) if SECRET in one.text]
    copies = [one.document for one in removed_documents(corpus) if one.rule == "exact_duplicate"]
    go(corpus, ids=[one.id for one in (*texts, *copies)])
    assert holding(corpus, SECRET) == []


def test_the_report_goes_with_what_it_shows(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    (secret,) = (one for one in kept_documents(corpus) if SECRET in one.text)
    for name in ("analyses.json", "report.html"):
        (corpus / name).write_text(secret.text)
    withdraw(corpus, Wanted(frozenset([secret.id])), lambda line: None, dry_run=True)
    assert (corpus / "report.html").exists()
    said = go(corpus, ids=[secret.id])
    assert any("`arriero corpus report` writes it again" in line for line in said)
    assert not {"analyses.json", "report.html"} & {path.name for path in corpus.iterdir()}


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"urls": ["http://p.example/1"]}, ["a", "a", "b", "b", "b", "c", "c"]),
        ({"sites": ["p.example"]}, ["a", "b", "b", "b", "c", "c"]),
        ({"files": ["a/0.jsonl"]}, ["a", "b", "b", "b", "c", "c"]),
        ({"files": ["0.jsonl"]}, ["a", "b", "c"]),
        ({"licenses": ["licence a"]}, ["b", "b", "b", "c", "c"]),
    ],
)
def test_by_what(tmp_path: Path, wanted: dict[str, list[str]], left: list[str]) -> None:
    corpus = corpus_of(tmp_path)
    go(corpus, **wanted)
    assert [one.source for one in kept_documents(corpus)] == left


def test_the_same_as_a_build_without_it(tmp_path: Path) -> None:
    """Documents and tokens are those of a build that never had it, by the same tokenizer."""
    corpus = corpus_of(tmp_path)
    secret = next(one for one in kept_documents(corpus) if SECRET in one.text)
    go(corpus, ids=[secret.id])
    other = tmp_path / "other"
    add_withdrawn(other, {"a/0.jsonl": [secret.id]})
    recipe = module.load_corpus_recipe(corpus / "recipe.toml")
    model = {"model": str(corpus / "08-tokenizer" / "model"), "vocab_size": 320}
    recipe = recipe.model_validate(recipe.model_dump() | {"tokenizer": model})
    build(recipe, other, lambda line: None)
    for part in ("documents", "removed", "tokens"):
        files = {path.relative_to(corpus) for path in (corpus / part).rglob("*.*")}
        assert files == {path.relative_to(other) for path in (other / part).rglob("*.*")}
        assert all((corpus / f).read_bytes() == (other / f).read_bytes() for f in files)


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    tokenizer = (corpus / "08-tokenizer" / "model" / "tokenizer.model").read_bytes()
    untouched = {
        path: path.stat().st_mtime_ns
        for path in (corpus / "documents").rglob("*.zst")
        if path.parts[-2:] not in (("a", "00000.jsonl.zst"), ("b", "00000.jsonl.zst"))
    }
    assert len(untouched) == 4
    go(corpus, urls=["http://p.example/1"])
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert (corpus / "08-tokenizer" / "model" / "tokenizer.model").read_bytes() == tokenizer
    # A build by the same recipe does not bring it back.
    recipe = module.load_corpus_recipe(corpus / "recipe.toml")
    build(recipe, corpus, lambda line: None)
    assert all(one.url != "http://p.example/1" for one in kept_documents(corpus))
    # Nor does it change the tokenizer, whose ids a model knows; further documents do.
    model = corpus / "08-tokenizer" / "model" / "tokenizer.model"
    assert model.read_bytes() == tokenizer
    ((gone, *_),) = module.withdrawn_ids(corpus).values()
    withdraw(corpus, Wanted(ids=frozenset([gone])), lambda line: None, retrain_tokenizer=True)
    assert model.read_bytes() != tokenizer
    tokenizer = model.read_bytes()
    build(recipe, corpus, lambda line: None)
    assert model.read_bytes() == tokenizer
    write_lines(tmp_path / "c" / "2.jsonl", [{"text": prose(random.Random(5), 300)}])
    build(recipe, corpus, lambda line: None)
    assert model.read_bytes() != tokenizer


def test_what_is_withdrawn_stays_out_when_units_are_cut_anew(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    go(corpus, urls=["http://p.example/1"])
    rows = [{"text": prose(random.Random(9))}]
    write_lines(tmp_path / "a" / "00.jsonl", rows)  # before the others, in a unit of its own
    recipe = module.load_corpus_recipe(corpus / "recipe.toml")
    facts = build(recipe, corpus, lambda line: None)
    assert facts["sources"]["a"]["withdrawn"] == 1
    assert facts["sources"]["a"]["files"] == 3
    assert all(one.url != "http://p.example/1" for one in kept_documents(corpus))
    facts = build(recipe.model_copy(update={"unit_megabytes": 64.0}), corpus, lambda line: None)
    assert facts["sources"]["a"]["withdrawn"] == 1
    assert all(one.url != "http://p.example/1" for one in kept_documents(corpus))


def test_a_source_that_goes_whole_leaves_no_tokens(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    arrays = corpus / "tokens" / "a" / "suffixes"
    arrays.mkdir()
    go(corpus, licenses=["licence c"])
    assert sorted(path.name for path in (corpus / "tokens").iterdir() if path.is_dir()) == [
        "a",
        "b",
    ]
    assert arrays.is_dir()
    # And where no tokens are made any more, none of before are left.
    recipe = module.load_corpus_recipe(corpus / "recipe.toml", {"tokenizer.model": ""})
    build(recipe, corpus, lambda line: None)
    assert not (corpus / "tokens").exists()
    assert not list((corpus / "09-tokens").rglob("*.npy"))


def test_where_all_goes_no_tokens_are_left(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    with pytest.raises(UserError, match="no document stayed"):
        go(corpus, licenses=[f"licence {name}" for name in "abc"])
    assert not (corpus / "tokens").exists()
    assert not list((corpus / "09-tokens").rglob("*.npy"))


def test_a_page_that_quotes_documents_goes(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    for name in ("report.html", "analyses.json"):
        (corpus / name).write_text(SECRET)
    said = go(corpus, files=["a/0.jsonl", "b/0.jsonl"])
    assert holding(corpus, SECRET) == []
    assert any(line.startswith("report.html quotes documents and is gone") for line in said)


def test_a_withdrawal_that_was_killed_goes_on_when_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = corpus_of(tmp_path)

    def die_at_07(context: Context, stage: Stage) -> None:
        if stage.name == "07-documents":
            raise KeyboardInterrupt
        in_this_process(context, stage)

    with monkeypatch.context() as patch:
        patch.setattr("arriero.corpus.build._executor", lambda: die_at_07)
        with pytest.raises(KeyboardInterrupt):
            go(corpus, sites=["p.example"])
    go(corpus, sites=["p.example"])
    assert [one.source for one in kept_documents(corpus)] == ["a", "b", "b", "b", "c", "c"]
    with pytest.raises(UserError, match=r"of the site p\.example"):
        go(corpus, sites=["p.example"])


def test_one_machine_withdraws_from_what_several_built(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    recipe = module.load_corpus_recipe(corpus / "recipe.toml", {"executor.nodes": 2})
    (corpus / "recipe.toml").write_text(recipe_text(recipe))
    asked: list[int] = []

    def execute(context: Context, stage: Stage) -> None:
        asked.append(context.recipe.executor.nodes)
        in_this_process(context, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arriero.corpus.build._executor", lambda: execute)
        go(corpus, urls=["http://p.example/1"])
    assert set(asked) == {1}


def test_what_cannot_be_withdrawn(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    before = ids(corpus)
    with pytest.raises(UserError, match="no document 0123"):
        go(corpus, ids=["0123", before[0]])
    with pytest.raises(UserError, match="name ids"):
        go(corpus)
    with pytest.raises(UserError, match="of the license none"):
        go(corpus, licenses=["none"])
    with pytest.raises(UserError, match="of the file x, and none by 1 more"):
        go(
            corpus,
            urls=["http://p.example/1", "http://p.example/7"],
            files=["x"],
            sites=["p.example"],
        )
    with pytest.raises(UserError, match="--url is empty"):
        go(corpus, urls=[""])
    with pytest.raises(UserError, match="is no built corpus"):
        go(tmp_path / "none", ids=["x"])
    (tmp_path / "a" / "0.jsonl").unlink()
    with pytest.raises(UserError, match="gone or another"):
        go(corpus, ids=[before[0]])
    assert ids(corpus) == before


def test_a_dry_run_takes_nothing_out(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    before = ids(corpus)
    said: list[str] = []
    withdraw(corpus, Wanted(licenses=frozenset(["licence c"])), said.append, dry_run=True)
    assert said == ["c: 2 documents would go"]
    assert ids(corpus) == before
