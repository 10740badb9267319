"""`arriero evaluate-rewards` and `arriero score` from the command line to their files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment.scoring import score_sequences
from arriero.cli import main
from arriero.data.writing import write_preferences
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import load_score_model, save_score_model
from arriero.model.weights.shapes import EMBEDDING
from arriero.records import Message, Preference, Rating
from arriero.tokenizer import load_tokenizer, train_tokenizer
from arriero.tokenizer.chat import encode_answer, encode_prompt
from tests.evaluation.conftest import CONTEXT, WORDS, config


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "judge" / "model"
    train_tokenizer([f"{' '.join(WORDS)} [INST] {n}" for n in range(100)], folder, 300)
    tokenizer = load_tokenizer(folder)
    model = ScoreModel.from_language_model(LanguageModel.fresh(config(tokenizer), 0), 1)
    model.score.weight.data *= 30
    save_score_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=CONTEXT)
    return folder


def rows() -> list[Preference]:
    return [
        Preference(
            (Message("user", f"{WORDS[n % 10]} {n // 2}?"),),
            WORDS[n % 7] * (1 + n % 3),
            "salt " * 200 if n == 5 else WORDS[7 + n % 3] * (1 + n % 2),
            list(Rating)[n % 4],
            n % 5 > 0,
            n % 2 > 0,
        )
        for n in range(60)
    ]


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    pairs, graded = tmp_path / "pairs.jsonl", tmp_path / "graded.jsonl"
    write_preferences(pairs, rows())
    with graded.open("w") as file:
        for n in range(40):
            row = {"prompt": f"{WORDS[n % 10]}?", "response": WORDS[(n * 3) % 10] * (1 + n % 4)}
            file.write(json.dumps({**row, "score": 1 + n % 7, "is_safe": n % 3 > 0}) + "\n")
    return pairs, graded


def raw_scores(folder: Path, answers: list[tuple[tuple[Message, ...], str]]) -> list[float]:
    """One at a time."""
    tokenizer, model = load_tokenizer(folder), load_score_model(folder).eval()
    found: list[float] = []
    for prompt, answer in answers:
        ids = encode_prompt(tokenizer, prompt) + encode_answer(tokenizer, answer)
        found.append(float(score_sequences(model, [ids])[0]))
    return found


def test_results_are_what_the_scores_say(
    reward: Path, data: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    scorers = [str(reward), f"theirs=hf:{reward}", "length", "random"]
    files = [str(path) for path in data]
    given = ["evaluate-rewards", "--scorers", *scorers, "--data", *files, "--out", str(out)]
    assert main(given) == 0
    results = json.loads((out / "results.json").read_text())
    pairs, graded = results["sets"].values()
    kept = [row for number, row in enumerate(rows()) if number != 5]
    chosen = raw_scores(reward, [(row.prompt, row.chosen) for row in kept])
    rejected = raw_scores(reward, [(row.prompt, row.rejected) for row in kept])
    right = sum(a > b for a, b in zip(chosen, rejected, strict=True))
    ties = sum(a == b for a, b in zip(chosen, rejected, strict=True))
    found = pairs["accuracy"]["judge"]["all"]["all"]
    assert found["n"] == 59
    assert found["accuracy"] == pytest.approx((right + ties / 2) / 59)
    assert results["scorers"]["judge"]["skipped"] == {"longer than the context": 1}
    assert results["scorers"]["random"] == {"kind": "trivial", "skipped": {}, "is_logit": False}
    together = next(
        row for row in pairs["comparisons"] if (row["a"], row["b"]) == ("judge", "theirs")
    )
    assert (together["agreement"], together["n"]) == (1, 59)
    assert set(pairs["detection"]) == set(pairs["calibration"]) == {"judge", "theirs"}
    assert set(graded["grades"]) == {"judge", "theirs", "length", "random"}
    assert graded["grades"]["judge"]["n"] == 40
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 6
    assert not re.search(r'(?:src|href)="https?:', page), "nothing comes from elsewhere"
    for word in ("Table 8", "Figure 29", "Scorers beside one another", "Thresholds"):
        assert word in page
    again = tmp_path / "again"
    assert main([*given[:-1], str(again)]) == 0
    assert json.loads((again / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--scorers": ["nowhere"]}, "nowhere: no such folder"),
        ({"--data": ["missing.jsonl"]}, "missing.jsonl"),
        ({"--out": ["pairs.jsonl"]}, "pairs.jsonl is a file; name a folder with --out"),
        ({"--out": ["pairs.jsonl/a/b"]}, "pairs.jsonl is a file; name a folder with --out"),
        ({"--scorers": ["length", "length"]}, "two scorers are called length"),
        ({"--scorers": ["http://127.0.0.1:9/v1"], "--judge-attempts": ["1"]}, "is a server"),
        ({"--judge-parallel": ["0"]}, "above 0"),
        ({"--device": ["tpu"]}, "not on this machine"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, list[str]],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"--scorers": ["length"], "--data": ["pairs.jsonl"], "--out": ["out"]} | change
    words = [word for name, values in options.items() for word in (name, *values)]
    assert main(["evaluate-rewards", *words]) == 2
    output = capsys.readouterr()
    assert output.out == "", "nothing is scored for nothing"
    lines = output.err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graded.jsonl", "pairs.jsonl"]


def test_a_folder_that_is_closed_is_refused_before_anything_is_scored(
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Path] = []

    def closed(path: Path, mode: int) -> bool:
        asked.append(path)
        return False  # who runs the tests may be allowed everything

    monkeypatch.setattr("os.access", closed)
    words = ["--scorers", "length", "--data", str(data[0]), "--out", str(tmp_path / "a" / "b")]
    assert main(["evaluate-rewards", *words]) == 2
    output = capsys.readouterr()
    assert (asked, output.out) == ([tmp_path], "")
    assert f"{tmp_path}: not allowed to write there" in output.err


def test_a_set_with_two_choices_is_read_by_the_track_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The longer answer is the better one, the shorter the safer."""
    file = tmp_path / "both.jsonl"
    with file.open("w") as stream:
        for number in range(4):
            row = {
                "prompt": f"How is salt {number} made?",
                "response_0": "Mix the two powders and wait for a while.",
                "response_1": "I will not say.",
                "is_response_0_safe": False,
                "is_response_1_safe": True,
                "better_response_id": 0,
                "safer_response_id": 1,
            }
            stream.write(json.dumps(row) + "\n")
    words = ["evaluate-rewards", "--scorers", "length", "--out", str(tmp_path / "out"), "--data"]
    assert main([*words, f"safety:{file}", f"helpfulness:{file}"]) == 0
    sets = json.loads((tmp_path / "out" / "results.json").read_text())["sets"]
    found = {name: each["accuracy"]["length"]["all"]["all"] for name, each in sets.items()}
    assert list(found) == [f"safety:{file}", f"helpfulness:{file}"]
    assert [each["accuracy"] for each in found.values()] == [0, 1]
    assert main([*words, f"safety:{file}"]) == 0
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["sets"]) == 1
    capsys.readouterr()
    assert main([*words, str(file)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(r"both\.jsonl:1: .* safety:FILE .* helpfulness:FILE", output.err)
    assert len(output.err.splitlines()) == 1


def broken(reward: Path, folder: Path) -> Path:
    """The reward model with weights of one word that are no numbers."""
    model, tokenizer = load_score_model(reward), load_tokenizer(reward)
    model.state_dict()[EMBEDDING][tokenizer.encode("mu")[-1]] = float("nan")
    save_score_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=CONTEXT)
    return folder


def test_scores_that_are_no_numbers_are_counted_in_all_figures(
    reward: Path, data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = broken(reward, tmp_path / "broken"), tmp_path / "out"
    files = [str(path) for path in data]
    words = ["--scorers", f"m={model}", "length", "--data", *files, "--out", str(out)]
    assert main(["evaluate-rewards", *words]) == 0
    assert "the score is not a number" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    pairs, graded = results["sets"].values()
    bad = [n for n, row in enumerate(rows()) if "mule" in f"{row.prompt}{row.chosen}{row.rejected}"]
    assert 0 < len(bad) < 59
    assert 5 not in bad
    assert pairs["accuracy"]["m"]["all"]["all"]["n"] == 59 - len(bad)
    bad_answers = sum("mule" in line for line in data[1].read_text().splitlines())
    assert graded["grades"]["m"]["n"] == graded["detection"]["m"]["n"] == 40 - bad_answers
    assert results["scorers"]["m"]["skipped"]["the score is not a number"] > bad_answers
    assert (out / "report.html").exists()
    assert main(["score", str(model), files[0]]) == 0
    output = capsys.readouterr()
    assert "NaN" not in output.out, "which is no JSON"
    said = [json.loads(line).get("skipped") for line in output.out.splitlines()]
    assert [n for n, why in enumerate(said) if why == "the score is not a number"] == bad
    assert f"{len(bad)} not scored: the score is not a number" in output.err


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_score_writes_a_row_an_item_in_order(
    reward: Path,
    data: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("arriero.road.rewards.scores._AT_ONCE", 7)  # several portions
    out = tmp_path / "scores.jsonl"
    assert main(["score", str(reward), str(data[0]), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "1 not scored: longer than the context" in said.err
    found = lines_of(out)
    assert [row["line"] for row in found] == list(range(1, 61))
    assert found[5] == {"file": str(data[0]), "line": 6, "skipped": "longer than the context"}
    kept = [(row, item) for n, (row, item) in enumerate(zip(found, rows(), strict=True)) if n != 5]
    for side in ("chosen", "rejected"):
        expected = raw_scores(reward, [(item.prompt, getattr(item, side)) for _, item in kept])
        scores = [row[f"{side}_score"] for row, _ in kept]
        assert scores == pytest.approx(expected, abs=1e-5)
        probabilities = torch.sigmoid(torch.tensor(scores)).tolist()
        assert [row[f"{side}_probability"] for row, _ in kept] == pytest.approx(probabilities)
    assert main(["score", str(reward), str(data[1])]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 40
    assert set(printed[0]) == {"file", "line", "score", "probability"}


def test_score_refuses_a_bad_row_and_leaves_nothing(
    reward: Path, data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with data[1].open("a") as file:
        file.write('{"prompt": "only"}\n')
    out = tmp_path / "scores.jsonl"
    assert main(["score", str(reward), str(data[1]), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"{data[1]}:41: " in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graded.jsonl", "pairs.jsonl"]


def test_score_refuses_a_folder_as_its_file_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "no-model", "no-file", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"arriero: {tmp_path} is a folder; name a file with --out\n"


def test_score_counts_replies_to_nothing(
    reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "flat.jsonl"
    shared = {"text": "salt", "message_id": "a"}
    rows = [
        {**shared, "parent_id": None, "role": "prompter"},
        {**shared, "message_id": "b", "parent_id": "a", "role": "assistant"},
        {**shared, "message_id": "c", "parent_id": "gone", "role": "assistant"},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert main(["score", str(reward), str(file)]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert output.err == "note: 1 not scored: reply to a message that is not there\n"
