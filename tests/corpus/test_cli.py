"""`arriero corpus`: words, files, exit codes, one line for what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from arriero.cli import main
from arriero.corpus import reading
from tests.corpus.conftest import in_this_process, prose, write_lines


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("arriero.corpus.build._executor", lambda: in_this_process)
    rng = random.Random(0)
    for name in ("a", "b"):
        rows = [{"text": prose(rng)} for _ in range(5)]
        write_lines(tmp_path / f"{name}.jsonl", [*rows, {"text": 3}])
    path = tmp_path / "mine.toml"
    sources = "".join(f'[sources.{n}]\npaths = ["{tmp_path / n}.jsonl"]\n' for n in ("a", "b"))
    path.write_text(f'[tokenizer]\nmodel = ""\n{sources}')
    return path


def test_build_and_withdraw(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "out"
    words = ["corpus", "build", str(recipe), "--run", str(corpus), "--weights", "a=3", "b=1"]
    assert main([*words, "--rules.min_words", "60", "--identifiers.mask", "email", "ip"]) == 0
    said = capsys.readouterr()
    assert "a: 5 of 5 documents" in said.out
    assert "note: a/a.jsonl:6: 1 a text that is no string" in said.err
    facts = reading.read_build(corpus)
    assert facts["config"]["rules"]["min_words"] == 60
    assert facts["config"]["identifiers"]["mask"] == ["email", "ip"]
    assert facts["sources"]["a"]["mix"]["weight"] == 0.75
    one, two, *_ = (document.id for document in reading.kept_documents(corpus))
    listed = tmp_path / "ids.txt"
    listed.write_text(f"# asked for on Monday\n{two}\n")
    assert main(["corpus", "withdraw", str(corpus), one, "--from", str(listed)]) == 0
    left = {document.id for document in reading.kept_documents(corpus)}
    assert len(left) == 8
    assert not left & {one, two}
    assert reading.read_build(corpus)["sources"]["a"]["withdrawn"] == 2


def test_a_source_of_which_nothing_stayed_is_told(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["corpus", "build", str(recipe), "--run", str(tmp_path / "out")]
    assert main([*words, "--rules.min_words", "99000"]) == 0
    said = capsys.readouterr()
    assert "a: 0 of 5 documents" in said.out
    assert "note: a: nothing stayed, most went for too_short" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "wrold"], "there is world"),
        (["build", "RECIPE", "--rules.min_word", "3"], "did you mean rules.min_words?"),
        (["build", "RECIPE", "--weights", "c=1"], "there is no source c"),
        (["build", "RECIPE", "--weights", "c"], "NAME=NUMBER"),
        (["build", "RECIPE", "--rules.min_words", "many"], "rules.min_words"),
        (["withdraw", "NONE", "x"], "is no built corpus"),
        (["withdraw", "NONE", "--from", "nowhere"], "no such file of ids"),
        (["mend"], "mend"),
        ([], "arguments are required"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    names = {"RECIPE": str(recipe), "NONE": str(tmp_path / "none")}
    given = [names.get(word, word) for word in words]
    if "build" in given:
        given += ["--run", str(tmp_path / "out")]
    assert main(["corpus", *given]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_of_very_many_bad_files_some_are_named(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(50):
        (tmp_path / "many" / f"{number:02d}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number:02d}.png").write_bytes(b"\x89")
    write_lines(tmp_path / "many" / "a.jsonl", [{"text": prose(random.Random(1))}])
    recipe.write_text(f"{recipe.read_text()}[sources.c]\npaths = ['{tmp_path / 'many'}']\n")
    assert main(["corpus", "build", str(recipe), "--run", str(tmp_path / "out")]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: c")]
    assert notes[0] == "note: c/00.png: 1 no known format"
    assert notes[20:] == [f"note: c: 30 more; {tmp_path / 'out' / 'build.json'} has all"]
    assert len(reading.read_build(tmp_path / "out")["sources"]["c"]["problems"]) == 50


def test_a_folder_of_the_embedded_world(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del recipe
    words = ["--world.documents", "300", "--tokenizer.vocab_size", "700"]
    assert main(["corpus", "build", "world", "--run", str(tmp_path / "w"), *words]) == 0
    assert "chronicle: " in capsys.readouterr().out
    assert (tmp_path / "w" / "world" / "truth.json").is_file()
