"""A run reads a built corpus by its folder: sources, and weights as they were reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arriero.corpus.storage import row_writer
from arriero.data.documents import read_documents
from arriero.records import UserError
from arriero.road.built import built_weights, with_built
from arriero.road.inputs import corpus_files, corpus_sources, weighted


def built(folder: Path, *, weight: float | None = 1.0) -> Path:
    """What a build leaves, as far as a run reads it; the source `empty` kept nothing."""
    shares = {"web": 0.25, "books": 0.75, "empty": 0.0}
    facts = {
        "sources": {
            name: {"kept": {"documents": int(share > 0)}, "mix": {"share": share}}
            for name, share in shares.items()
        },
        "config": {"weights": {}, "sources": {name: {"weight": weight} for name in shares}},
    }
    for name in shares:
        with row_writer(folder / "documents" / name / "00000.jsonl.zst") as write:
            if shares[name]:
                write({"id": "1", "text": f"text of {name}", "source": name, "license": "",
                       "file": "a", "place": 1, "url": "", "kept": ["empty"]})  # fmt: skip
    (folder / "build.json").write_text(json.dumps(facts))
    return folder


def test_sources_and_weights(tmp_path: Path) -> None:
    entries = [str(built(tmp_path / "corpus"))]
    sources = weighted(corpus_sources(entries), built_weights(entries))
    assert [(one.name, one.weight) for one in sources] == [("web", 0.25), ("books", 0.75)]
    assert [list(read_documents(one.paths)) for one in sources] == [
        ["text of web"],
        ["text of books"],
    ]
    assert len(corpus_files(entries)) == 2


def test_without_weights_it_is_read_as_it_is(tmp_path: Path) -> None:
    assert built_weights([str(built(tmp_path / "corpus", weight=None))]) == {}


def test_beside_other_files_it_gives_its_sources_and_no_weights(tmp_path: Path) -> None:
    corpus, other = built(tmp_path / "corpus"), tmp_path / "x.txt"
    other.write_text("x")
    entries = [str(corpus), str(other)]
    assert list(corpus_sources(entries)) == ["web", "books", "x"]
    assert built_weights(entries) == {}
    assert with_built([str(other)]) == [str(other)]


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    corpus = built(tmp_path / "corpus")
    (corpus / "build.json").write_text("{")
    with pytest.raises(UserError, match="is no built corpus"):
        corpus_sources([str(corpus)])
