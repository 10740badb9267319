"""The whole: corpora of each kind and samples in, figures, matches and texts out."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zstandard

from arriero.cli import main
from arriero.corpus.contamination.opening import document_ids, token_folders, tokenizer_of
from arriero.corpus.contamination.search import Match
from arriero.corpus.contamination.shown import passage
from arriero.data.shards import write_shard, write_tokens
from arriero.records import UserError
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.tokenizer.train import train_tokenizer
from tests.corpus.analyses.built import build, document

WORDS = (
    "salt river stone bread mule letter road valley market wool pass water yesterday seven "
    "walks carries sold behind under over"
).split()


def sentence(draw: random.Random, num: int = 40) -> str:
    return " ".join(draw.choices(WORDS, k=num))


TEXTS = [sentence(random.Random(n)) for n in range(30)]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, folder, 380)  # every word is a token
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def evals(tmp_path: Path) -> Path:
    """A copy, a copy within other words, a stranger, an empty one and one of a word."""
    own = random.Random(99)
    samples = [
        {"id": "copy", "question": TEXTS[3], "score": 1},
        {"id": "part", "question": f"{sentence(own)} {TEXTS[7]} {sentence(own)}", "score": 1},
        {"id": "none", "question": sentence(own), "score": 0},
        {"id": "empty", "question": "", "score": 0},
        {"id": "word", "question": "salt", "score": 0},
    ]
    return lines(tmp_path / "quiz.jsonl", samples)


def run(*arguments: object) -> int:
    return main(["contamination", *map(str, arguments)])


def results(out: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    return json.loads((out / "results.json").read_text()), {row["id"]: row for row in rows}


def test_a_corpus_of_rows(
    tmp_path: Path, evals: Path, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = lines(tmp_path / "web.jsonl", [{"text": text} for text in TEXTS]), tmp_path / "o"
    arguments = (corpus, evals, "--tokenizer", tokenizer_folder, "--out", out, "--metric", "score")
    assert run(*arguments) == 0
    found, rows = results(out)
    assert rows["copy"]["shares"] == {"11": 1.0}
    assert rows["copy"]["matches"][0]["document"] == "web.jsonl:4"
    assert rows["copy"]["matches"][0]["place"] == 1  # after BOS
    assert rows["copy"]["matches"][0]["different"] == []
    assert rows["part"]["matches"][-1]["document"] == "web.jsonl:8"
    assert 0.2 < rows["part"]["shares"]["11"] < 0.6
    for name in ("empty", "word"):
        assert (rows[name]["shares"], rows[name]["spans"]) == ({"11": 0.0}, [])
    quiz = found["sets"]["quiz"]
    assert (quiz["samples"], quiz["empty"], quiz["too_short"]) == (5, 1, 1)
    subsets = quiz["lengths"]["11"]["subsets"]
    assert {name: row["n"] for name, row in subsets.items()} == {
        "clean": 3, "not clean": 2, "not dirty": 4, "dirty": 1
    }  # fmt: skip
    assert subsets["not clean"]["mu_n"] == 0.4
    assert quiz["lengths"]["11"]["affected"] is False
    assert [shown["id"] for shown in found["shown"]] == ["copy", "part"]
    page = (out / "report.html").read_text()
    assert 'class="same"' in page
    assert "Table 51" in page
    assert "http://" not in page.replace("http://www.w3.org", "")

    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in out.glob("*.*")}
    assert run(*arguments) == 0
    assert "tokens of text" not in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == before

    corpus.write_text(corpus.read_text().replace("salt", "sugar"))
    assert run(*arguments) == 0
    assert "made of other text" in capsys.readouterr().out
    assert results(out)[1]["copy"]["shares"]["11"] < 1


def test_several_lengths(tmp_path: Path, evals: Path, tokenizer_folder: Path) -> None:
    corpus, out = lines(tmp_path / "web.jsonl", [{"text": text} for text in TEXTS]), tmp_path / "o"
    size = len(load_tokenizer(tokenizer_folder).encode(TEXTS[3]))
    lengths = ("--min-length", size + 1, 11, size)
    assert run(corpus, evals, "--tokenizer", tokenizer_folder, "--out", out, *lengths) == 0
    found, rows = results(out)
    assert rows["copy"]["shares"] == {"11": 1.0, str(size): 1.0, str(size + 1): 0.0}
    assert found["rule"]["min_lengths"] == [11, size, size + 1]
    assert found["sets"]["quiz"]["lengths"]["11"]["subsets"]["clean"]["z"] is None


def test_a_folder_of_prose(tmp_path: Path, evals: Path, tokenizer_folder: Path) -> None:
    corpus, out = tmp_path / "books", tmp_path / "o"
    corpus.mkdir()
    (corpus / "a.txt").write_text("\n\n".join(TEXTS[:10]))
    (corpus / "b.md").write_text("\n\n")
    (corpus / "c.txt").write_text("\n\n".join(TEXTS[10:]))
    assert run(corpus, evals, "--tokenizer", tokenizer_folder, "--out", out) == 0
    found, rows = results(out)
    assert found["corpus"]["folders"] == ["a.txt", "c.txt"]
    match = rows["copy"]["matches"][0]
    assert (match["document"], match["folder"]) == ("a.txt#1", "a.txt")


@pytest.fixture
def built(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A built corpus of two sources, the second one listed."""
    corpus = tmp_path / "built"
    write_shard(TEXTS[:5], tokenizer, corpus / "tokens" / "web")
    folder = corpus / "tokens" / "books"
    write_shard(TEXTS[5:], tokenizer, folder)
    with zstandard.open(folder / "documents.jsonl.zst", "wt", encoding="utf-8") as file:
        for n in range(5, 30):
            file.write(json.dumps({"id": f"book-{n}", "tokens": 1}) + "\n")
    return corpus


def test_a_built_corpus(
    tmp_path: Path, evals: Path, built: Path, tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "o"
    assert run(built, evals, "--out", out) == 2
    assert "names no tokenizer; name its own with --tokenizer" in capsys.readouterr().err
    (built / "recipe.toml").write_text(f'tokenizer = "{tokenizer_folder}"\n')
    assert run(built, evals, "--out", out) == 0
    found, rows = results(out)
    assert found["corpus"]["folders"] == ["books", "web"]
    assert rows["copy"]["matches"][0]["document"] == "3"
    assert rows["part"]["matches"][-1]["document"] == "book-7"
    assert not (out / "tokens").exists()
    assert (built / "tokens" / "books" / "suffixes" / "00000.order").is_file()


def test_a_built_corpus_without_tokens(tmp_path: Path, evals: Path, tokenizer_folder: Path) -> None:
    """What was removed, and what stages keep between them, is no part of it."""
    corpus, stays = tmp_path / "built", [document("a", TEXTS[7], "books")]
    gone = [document("b", TEXTS[3], "books", rule="too_short", detail="")]
    build(corpus, {"books": [stays]}, {"books": gone})
    (corpus / "00-inputs").mkdir()
    (corpus / "00-inputs" / "listing.json").write_text('{"units": []}\n')
    out = tmp_path / "o"
    assert run(corpus, evals, "--tokenizer", tokenizer_folder, "--out", out) == 0
    found, rows = results(out)
    assert found["corpus"]["documents"] == 1
    assert found["corpus"]["folders"] == ["books/00000.jsonl.zst"]
    assert not rows["copy"]["matches"]
    assert rows["part"]["matches"]


def test_tokens_anywhere_in_a_folder(tmp_path: Path, built: Path) -> None:
    assert [folder.name for folder in token_folders(built)] == ["books", "web"]
    assert [folder.name for folder in token_folders(built / "tokens" / "web")] == ["web"]
    assert token_folders(tmp_path / "none") == []
    (built / "tokenizer").mkdir()
    assert tokenizer_of(built) == built / "tokenizer"


def test_a_list_of_documents_that_is_damaged(built: Path) -> None:
    folder = token_folders(built)[0]
    assert document_ids(folder, [0, 24]) == {0: "book-5", 24: "book-29"}
    path = folder.path / "documents.jsonl.zst"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match=r"documents.jsonl.zst ends before document 24"):
        document_ids(folder, [24])


def test_another_tokenizer_is_noticed(
    tmp_path: Path, evals: Path, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens([[5] * 30], 380, tmp_path / "corpus" / "x")
    options = ("--tokenizer", tokenizer_folder, "--out", tmp_path / "o")
    assert run(tmp_path / "corpus", evals, *options) == 0
    assert "do not begin with the tokenizer's id" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--memory", "0"), "--memory 0: say gigabytes above 0"),
        (("--memory", "nan"), "--memory nan: say gigabytes above 0"),
        (("--memory", "1e-9"), "holds no token"),
        (("--min-length", "5"), "an exact beginning of 10 tokens in matches of 5"),
        (("--budget", "-1"), "-1 tokens that may differ"),
        (("--metric", "none"), "'none' should be a number"),
        (("--fields", "none"), "no field 'none'"),
        (("--out", "quiz.jsonl"), "is a file; name a folder with --out"),
        (("--out", "quiz.jsonl/x"), "is a file; name a folder with --out"),
    ],
)
def test_what_a_user_can_get_wrong(
    arguments: tuple[str, ...], message: str, tmp_path: Path, evals: Path, built: Path,
    tokenizer_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [built, evals, "--tokenizer", tokenizer_folder, "--out", "out", *arguments]
    assert run(*given) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["none", "empty", "blank.txt"])
def test_a_corpus_without_text(
    name: str, tmp_path: Path, evals: Path, tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n \n")
    options = ("--tokenizer", tokenizer_folder, "--out", tmp_path / "o")
    assert run(tmp_path / name, evals, *options) == 2
    assert "arriero: " in capsys.readouterr().err


def test_a_text_beside_another(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = TEXTS[0] + " é " + TEXTS[1]
    other = text.replace("é", "è")
    write_shard([TEXTS[2] + " " + text], tokenizer, tmp_path / "corpus")
    (folder,) = token_folders(tmp_path / "corpus")
    sample = tokenizer.encode(other)
    corpus = folder.tokens.tolist()
    # The last tokens of both are the same.
    match = Match(0, len(sample), 0, len(corpus) - 1 - len(sample))
    sides = passage(match, sample, folder, tokenizer)
    assert "".join(text for text, _ in sides["sample"]) == other
    shown = "".join(text for text, _ in sides["corpus"])
    assert shown.startswith("… ")
    assert shown.endswith(text)
    different = {
        side: "".join(t for t, mark in sides[side] if mark == "different") for side in sides
    }
    assert different == {"sample": "è", "corpus": "é"}


def job(corpus: Path, evals: Path, tokenizer: Path, out: Path) -> list[str]:
    command = "from arriero.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    return [
        sys.executable, "-c", command, "contamination", str(corpus), str(evals), "--tokenizer",
        str(tokenizer), "--out", str(out), "--memory", "0.0002",
    ]  # fmt: skip


def outcome(folder: Path) -> dict[str, bytes]:
    kept = [*(folder / "out").iterdir(), *folder.rglob("suffixes/*")]
    return {path.name: path.read_bytes() for path in kept}


@pytest.mark.slow
def test_killed_while_it_sorts_and_given_again(
    tmp_path: Path, tokenizer: Tokenizer, tokenizer_folder: Path, evals: Path
) -> None:
    texts = [sentence(random.Random(n), 400) for n in range(2000)] + TEXTS
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    write_shard(texts, tokenizer, whole / "corpus" / "tokens" / "web")
    shutil.copytree(whole, killed)
    jobs = [job(at / "corpus", evals, tokenizer_folder, at / "out") for at in (whole, killed)]
    assert subprocess.run(jobs[0], check=False).returncode == 0
    suffixes = killed / "corpus" / "tokens" / "web" / "suffixes"
    process = subprocess.Popen(jobs[1])
    deadline = time.monotonic() + 240
    while not (suffixes / "00002.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, "it was over before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "out").exists()
    first = (suffixes / "00000.order").stat().st_mtime_ns
    assert subprocess.run(jobs[1], check=False).returncode == 0
    assert (suffixes / "00000.order").stat().st_mtime_ns == first
    expected = outcome(whole)
    assert len(expected) > 100
    assert outcome(killed) == expected


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from arriero.corpus.contamination.matching import Rule, samples_of
from arriero.corpus.contamination.parts import open_token_folder
from arriero.corpus.contamination.search import search
from arriero.corpus.contamination.suffixes import suffix_order, text_of
from arriero.native.build import native

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

native()
suffix_order(text_of(np.arange(50, dtype=np.uint16), np.zeros(1, np.int64)))
folder = open_token_folder(Path(sys.argv[1]), "x")
samples = samples_of([folder.tokens[5:200].tolist()])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = peak()
said = []
search([folder], samples, Rule(), float(sys.argv[2]), 70000, said.append)
print(peak() - before, said[-1].split()[-2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize("kind", ["varied", "one token", "copies"])
def test_memory_is_kept_to(native: str, kind: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    if kind == "varied":
        rows = [[draw.randrange(60_000) for _ in range(1000)] for _ in range(1000)]
    elif kind == "copies":
        row = [draw.randrange(60_000) for _ in range(1000)]
        rows = [row] * 1000
    else:
        rows = [[7] * 1000 for _ in range(1000)]
    write_tokens(rows, 70_000, tmp_path / "x")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "x"), "30e6"],
        env=os.environ | {"ARRIERO_NATIVE": native, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    grown, num_parts = map(int, done.stdout.split())
    assert num_parts > 1
    assert grown < 30e6
