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
        ({"--out": ["pairs.jsonl"]}, "is a file"),
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
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graded.jsonl", "pairs.jsonl"]


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
