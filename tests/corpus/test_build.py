"""A build from end to end: what stays, what goes, what is counted, what is not done twice."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arriero.corpus import reading
from arriero.corpus.build import build
from arriero.corpus.clean import document_id
from arriero.corpus.stages import Context, Stage
from arriero.corpus.storage import read_json
from arriero.data.mixing import open_corpus
from arriero.records import UserError
from arriero.tokenizer import load_tokenizer
from tests.corpus.conftest import Build, in_this_process, prose, recipe_of, write_lines


def test_what_stays_and_what_goes(tmp_path: Path, build_here: Build) -> None:
    rng = random.Random(0)
    texts = [prose(rng) for _ in range(6)]
    a = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts[:3]])
    b = write_lines(
        tmp_path / "b.jsonl",
        [
            {"text": texts[0].upper()},  # an exact copy of a:1
            {"text": f"{texts[1]} and more"},  # a near copy of a:2
            {"text": "short"},
            {"text": texts[3], "url": "http://x.bad.example/"},
            {"text": texts[4], "url": "http://good.example/"},
        ],
    )
    sources = {
        "a": {"paths": [str(a)], "license": "CC0"},
        "b": {"paths": [str(b)], "excluded_sites": ["bad.example"]},
    }
    facts = build_here(recipe_of(sources))
    corpus = tmp_path / "corpus"
    kept = list(reading.kept_documents(corpus))
    assert [(one.source, one.file, one.place, one.license, one.url) for one in kept] == [
        ("a", "a.jsonl", 1, "CC0", ""),
        ("a", "a.jsonl", 2, "CC0", ""),
        ("a", "a.jsonl", 3, "CC0", ""),
        ("b", "b.jsonl", 5, "", "http://good.example/"),
    ]
    assert [one.id for one in kept[:2]] == [document_id("a", "a.jsonl", n) for n in (1, 2)]
    removed = {one.document.place: one for one in reading.removed_documents(corpus, "b")}
    assert {place: (one.rule, one.detail) for place, one in removed.items()} == {
        1: ("exact_duplicate", kept[0].id),
        2: ("near_duplicate", kept[1].id),
        3: ("too_short", "1 words"),
        4: ("excluded_site", "bad.example"),
    }
    # Of a site that is left out nothing is kept in the folder of what was removed.
    assert removed[4].document.text == ""
    assert facts["sources"]["b"]["read"]["documents"] == 5
    assert facts["sources"]["b"]["kept"] == {"documents": 1, "characters": len(texts[4])}
    assert facts["sources"]["b"]["removed"]["too_short"] == {"documents": 1, "characters": 5}
    assert facts["sources"]["b"]["examples"]["too_short"]["text"] == "short"


def test_order_of_the_recipe_says_which_copy_stays(tmp_path: Path, build_here: Build) -> None:
    text = prose(random.Random(1))
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [{"text": text}])
    sources = {name: {"paths": [str(tmp_path / f"{name}.jsonl")]} for name in ("a", "b")}
    build_here(recipe_of(sources), "one")
    build_here(recipe_of(dict(reversed(sources.items()))), "two")
    stayed = [next(reading.kept_documents(tmp_path / name)).source for name in ("one", "two")]
    assert stayed == ["a", "b"]


def test_a_copy_of_what_went_names_what_stayed(tmp_path: Path, build_here: Build) -> None:
    """b is near a and goes; c is b once more, so what it is like has to be a."""
    text = prose(random.Random(2))
    rows = [{"text": text}, {"text": f"{text} plus"}, {"text": f"{text} PLUS"}]
    paths = [write_lines(tmp_path / f"{n}.jsonl", [row]) for n, row in enumerate(rows)]
    build_here(recipe_of({f"s{n}": {"paths": [str(path)]} for n, path in enumerate(paths)}))
    corpus = tmp_path / "corpus"
    (first,) = reading.kept_documents(corpus)
    gone = [(one.rule, one.detail) for one in reading.removed_documents(corpus)]
    assert gone == [("near_duplicate", first.id)] * 2


def test_chains_do_not_carry_away_what_is_unlike(tmp_path: Path, build_here: Build) -> None:
    """Each text is near the next one; what goes is near one that stayed, not near a link only."""
    words = prose(random.Random(3), 120).split()
    texts = []
    for step in range(8):
        texts.append(" ".join(words))
        words[10 + 12 * step] = f"changed{step}"
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    build_here(recipe_of({"a": {"paths": [str(path)]}}))
    corpus = tmp_path / "corpus"
    kept = {one.id: one.text for one in reading.kept_documents(corpus)}
    assert len(kept) > 1
    for one in reading.removed_documents(corpus):
        assert _jaccard(one.document.text, kept[one.detail]) >= 0.8


def _jaccard(a: str, b: str) -> float:
    sets = [
        {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
        for words in (a.split(), b.split())
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def bad_inputs(folder: Path) -> Path:
    """A folder with every kind of bad file beside a good one."""
    rng = random.Random(4)
    rows = [{"text": prose(rng)} for _ in range(30)]
    good = write_lines(folder / "good.jsonl", rows[:3]).read_bytes()
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(good)[:-9])
    (folder / "garbage.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(range(200)))
    (folder / "latin.jsonl").write_bytes('{"text": "café"}\n'.encode("latin-1"))
    (folder / "null.txt").write_bytes(b"one\0two\n")
    (folder / "huge.jsonl").write_bytes(b'{"text": "' + b"x" * 200_000 + b'"}\n')
    (folder / "empty.jsonl").touch()
    (folder / "no.parquet").write_bytes(b"PAR1")
    (folder / "one-word.txt").write_text("word\n")
    (folder / "rows.jsonl").write_text('{"txt": "a"}\n[]\n{"text": 1}\n{"text": " "}\n{,}\n')
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "out.txt").symlink_to("/etc/hostname")
    return folder


def test_bad_files_are_counted_and_named(tmp_path: Path, build_here: Build) -> None:
    folder = bad_inputs(tmp_path / "in")
    facts = build_here(recipe_of({"s": {"paths": [str(folder)]}}, max_line_megabytes=0.1))
    source = facts["sources"]["s"]
    found = {(one["file"], one["reason"]): one["count"] for one in source["problems"]}
    assert found == {
        ("cut.jsonl.gz", "not readable whole"): 1,
        ("garbage.jsonl.zst", "not readable whole"): 1,
        ("latin.jsonl", "not UTF-8"): 1,
        ("null.txt", "null bytes"): 1,
        ("huge.jsonl", "line too long"): 1,
        ("empty.jsonl", "empty file"): 1,
        ("no.parquet", "not readable whole"): 1,
        ("rows.jsonl", "no field text or content"): 1,
        ("rows.jsonl", "a row that is no object"): 1,
        ("rows.jsonl", "a text that is no string"): 1,
        ("rows.jsonl", "not JSON"): 1,
        ("image.png", "no known format"): 1,
        ("out.txt", "a link that leaves its folder"): 1,
    }
    assert source["kept"]["documents"] == 3
    assert {"too_short", "empty"} <= set(source["removed"])
    # Of the file that is cut what was whole is read: copies of the good one's rows, if any.
    assert set(source["removed"]) <= {"too_short", "empty", "exact_duplicate"}
    row = next(one for one in source["problems"] if one["reason"] == "not JSON")
    assert row["places"] == [5]


def test_names_that_are_no_utf8(tmp_path: Path, build_here: Build) -> None:
    """Of files and in addresses: they are read, told apart, and written as they can be."""
    rng, folder = random.Random(10), tmp_path / "in"
    folder.mkdir()
    for byte in (b"\xfe", b"\xff"):
        try:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + byte + b".txt")).write_text(prose(rng))
        except OSError:
            pytest.skip("this file system has names in UTF-8 only")
    row = {"text": prose(rng), "url": "http://x.example/\ud800"}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    build_here(recipe_of({"s": {"paths": [str(folder)]}}))
    kept = list(reading.kept_documents(tmp_path / "corpus"))
    assert [one.file for one in kept] == ["rows.jsonl", "\\udcfe.txt", "\\udcff.txt"]
    assert kept[0].url == "http://x.example/\\ud800"
    assert len({one.id for one in kept}) == 3


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "latin.jsonl", "empty.jsonl", "no.parquet"])
def test_strict_ends_at_the_first_and_leaves_no_result(
    tmp_path: Path, build_here: Build, name: str
) -> None:
    bad = bad_inputs(tmp_path / "in") / name
    recipe = recipe_of({"s": {"paths": [str(bad)]}}, strict=True)
    with pytest.raises(UserError, match=f"{name}.*unset strict"):
        build_here(recipe)
    corpus = tmp_path / "corpus"
    assert not (corpus / "build.json").exists()
    assert not list(corpus.rglob("*.zst"))
    assert not list(corpus.rglob("*.tmp"))
    with pytest.raises(UserError, match="is no built corpus"):
        next(reading.kept_documents(corpus))


def test_nothing_stays(tmp_path: Path, build_here: Build) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": "short"}])
    with pytest.raises(UserError, match="no document stayed"):
        build_here(recipe_of({"s": {"paths": [str(path)]}}, tokenizer={"vocab_size": 400}))
    # Without tokens there is something to look at.
    facts = build_here(recipe_of({"s": {"paths": [str(path)]}}))
    assert facts["sources"]["s"]["kept"]["documents"] == 0


def two_sources(tmp_path: Path, seed: int = 5) -> dict[str, Any]:
    rng = random.Random(seed)
    for name, num in (("big", 40), ("small", 8)):
        write_lines(tmp_path / f"{name}.jsonl", [{"text": prose(rng)} for _ in range(num)])
    return {
        name: {"paths": [str(tmp_path / f"{name}.jsonl")], "weight": weight}
        for name, weight in (("big", 1), ("small", 1))
    }


def test_tokens_documents_and_mix(tmp_path: Path, build_here: Build) -> None:
    recipe = recipe_of(two_sources(tmp_path), tokenizer={"vocab_size": 400})
    facts = build_here(recipe)
    corpus = tmp_path / "corpus"
    tokenizer = load_tokenizer(corpus / "08-tokenizer" / "model")
    for name in ("big", "small"):
        folder = corpus / "tokens" / name
        tokens = np.fromfile(folder / "tokens.bin", np.uint16)
        starts = np.load(folder / "starts.npy")
        rows = [json.loads(line) for line in _lines(folder / "documents.jsonl.zst")]
        kept = list(reading.kept_documents(corpus, name))
        assert [row["id"] for row in rows] == [one.id for one in kept]
        assert np.cumsum([0, *(row["tokens"] for row in rows)][:-1]).tolist() == starts.tolist()
        first = tokens[: rows[0]["tokens"]].tolist()
        expected = tokenizer.encode(kept[0].text)
        assert first == [tokenizer.start_id, *expected, tokenizer.eos_id]
        assert facts["sources"][name]["tokens"] == len(tokens)
        assert facts["sources"][name]["mix"]["share"] == pytest.approx(0.5)
    big, small = (facts["sources"][name] for name in ("big", "small"))
    total = big["tokens"] + small["tokens"]
    assert small["mix"]["epochs"] == pytest.approx(total / 2 / small["tokens"])
    # The run's mixing reads it in these shares.
    mixed = open_corpus(corpus / "tokens", 32)
    assert (mixed.names, mixed.weights) == (("big", "small"), (1, 1))
    rows = mixed.order([shard.num_rows for shard in mixed.shards], 10, 0, 0)
    assert sum(row >= mixed.firsts[1] for row in rows) == 5


def _lines(path: Path) -> list[bytes]:
    from arriero.data.files import read_lines

    return [line for _, line in read_lines(path)]


class Counting:
    """An executor that says which stages had something to do."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def __call__(self, context: Context, stage: Stage) -> None:
        self.stages.append(stage.name)
        in_this_process(context, stage)


def test_what_stands_is_not_done_again(tmp_path: Path) -> None:
    sources, root = two_sources(tmp_path), tmp_path / "corpus"

    def again(**keys: Any) -> list[str]:
        counting = Counting()
        build(recipe_of(sources, **keys), root, lambda line: None, execute=counting)
        return counting.stages

    everything = again()
    assert everything[0] == "01-clean"
    assert again() == []
    assert again(executor={"tasks": 5, "workers": 3}) == []
    # Another threshold decides anew; all that is before stands, and what comes out is the same.
    assert again(duplicates={"threshold": 0.9}) == ["06-decide"]
    assert again() == ["06-decide"]
    assert again(rules={"min_words": 51})[0] == "01-clean"


def test_a_flipped_byte_is_found_and_mended(tmp_path: Path, build_here: Build) -> None:
    recipe = recipe_of(two_sources(tmp_path))
    facts = build_here(recipe)
    corpus = tmp_path / "corpus"
    path = corpus / "documents" / "big" / "00000.jsonl.zst"
    whole = path.read_bytes()
    path.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    assert build_here(recipe)["hash"] == facts["hash"]
    assert path.read_bytes() == whole
    (corpus / "01-clean" / "small" / "00000.kept.jsonl.zst").unlink()
    assert build_here(recipe)["hash"] == facts["hash"]


def test_another_input_and_a_source_less_leave_nothing_old(
    tmp_path: Path, build_here: Build
) -> None:
    sources = two_sources(tmp_path)
    first = build_here(recipe_of(sources))
    two_sources(tmp_path, seed=6)
    assert build_here(recipe_of(sources))["hash"] != first["hash"]
    build_here(recipe_of({"big": sources["big"]}))
    corpus = tmp_path / "corpus"
    assert not (corpus / "documents" / "small").exists()
    assert not (corpus / "01-clean" / "small").exists()
    assert {one.source for one in reading.kept_documents(corpus)} == {"big"}


def test_a_file_that_is_called_otherwise_brings_no_copy_back(
    tmp_path: Path, build_here: Build
) -> None:
    """Ids change with the name, and texts and places do not: decisions go by ids."""
    rng = random.Random(8)
    texts = [prose(rng) for _ in range(3)]
    rows = [{"text": text} for text in (*texts, *(f"{text} more" for text in texts))]
    write_lines(tmp_path / "a" / "a.jsonl", rows[:3])
    copies = write_lines(tmp_path / "b" / "b.jsonl", rows)
    recipe = recipe_of({name: {"paths": [str(tmp_path / name)]} for name in ("a", "b")})
    before = build_here(recipe)["sources"]["b"]["removed"]
    assert {rule: one["documents"] for rule, one in before.items()} == {
        "exact_duplicate": 3,
        "near_duplicate": 3,
    }
    copies.rename(tmp_path / "b" / "c.jsonl")
    assert build_here(recipe)["sources"]["b"]["removed"] == before
    assert len(list(reading.kept_documents(tmp_path / "corpus"))) == 3


def test_identifiers_are_measured_and_masked(tmp_path: Path, build_here: Build) -> None:
    text = f"{prose(random.Random(7))} Write to ann@example.org, or call (555) 123-4567."
    path = write_lines(tmp_path / "a.jsonl", [{"text": text}])
    facts = build_here(recipe_of({"s": {"paths": [str(path)]}}, identifiers={"mask": ["email"]}))[
        "sources"
    ]["s"]
    assert facts["identifiers"] == {
        "email": {"documents": 1, "found": 1},
        "phone": {"documents": 1, "found": 1},
    }
    assert facts["masked"] == {"email": 1}
    (document,) = reading.kept_documents(tmp_path / "corpus")
    assert document.text.endswith("Write to <email>, or call (555) 123-4567.")
    row = json.loads(_lines(tmp_path / "corpus" / "documents" / "s" / "00000.jsonl.zst")[0])
    assert row["kept"][0] == "masked email"
    assert row["kept"][-1] == "near_duplicates"


def test_what_is_removed_is_masked_too(tmp_path: Path, build_here: Build) -> None:
    texts = ["Write to ann@example.org", f"{prose(random.Random(12))} bob@example.org" * 3]
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    rules = {"phrases": ["bob@example.org"]}
    recipe = recipe_of({"s": {"paths": [str(path)]}}, rules=rules, identifiers={"mask": "email"})
    build_here(recipe)
    removed = list(reading.removed_documents(tmp_path / "corpus"))
    assert [(one.rule, one.detail) for one in removed] == [
        ("too_short", "3 words"),
        ("phrases", "'<email>'"),
    ]
    assert not any("@" in one.document.text for one in removed)
    assert "@example" not in (tmp_path / "corpus" / "01-clean/s/00000.counts.json").read_text()


def test_what_was_not_asked_is_not_said_to_be_passed(tmp_path: Path, build_here: Build) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(11))}])
    for near in (False, True):
        build_here(recipe_of({"s": {"paths": [str(path)]}}, duplicates={"near": near}))
        row = json.loads(_lines(tmp_path / "corpus" / "documents" / "s" / "00000.jsonl.zst")[0])
        assert ("near_duplicates" in row["kept"], "exact_duplicates" in row["kept"]) == (near, True)


def test_only_one_process_works_in_a_corpus(tmp_path: Path) -> None:
    """The lock is the process's: another one is refused, and it goes with its holder."""
    import subprocess
    import sys

    hold = (
        "import sys, time\nfrom pathlib import Path\nfrom arriero.corpus.build import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "corpus")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        recipe = recipe_of(two_sources(tmp_path))
        with pytest.raises(UserError, match="another process works in this corpus"):
            build(recipe, tmp_path / "corpus", lambda line: None, execute=in_this_process)
        holder.kill()
    build(recipe, tmp_path / "corpus", lambda line: None, execute=in_this_process)


def test_a_fault_of_ours_is_no_result(tmp_path: Path) -> None:
    def lose(context: Context, stage: Stage) -> None:
        """An executor that reports success and did nothing, as datatrove's may."""

    recipe = recipe_of(two_sources(tmp_path))
    with pytest.raises(RuntimeError, match="01-clean: unit big/00000 was lost"):
        build(recipe, tmp_path / "corpus", lambda line: None, execute=lose)
    assert read_json(tmp_path / "corpus" / "01-clean" / "manifest.json") is None
