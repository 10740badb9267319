"""The outside judge of the evaluation, against a real server that says what a test tells it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from arriero.evaluation.graded import GradedAnswer
from arriero.evaluation.judge import KEY_VARIABLE, NONSENSE, question
from arriero.records import Message, Prompt, UserError
from arriero.records.prompt import Track
from arriero.stages import evaluate_judge
from arriero.stages.evaluate_judge import JudgeConfig, ask_outside, look_for_judge, open_outside
from arriero.stages.workspace import Workspace
from tests.evaluation.stub import Reply, Stub, longer, said, stubbed

Facts = dict[str, Any]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stubbed() as found:
        yield found


def config(stub: Stub, **keys: Any) -> JudgeConfig:
    return JudgeConfig(url=stub.url, **{"model": "m", "attempts": 1, "parallel": 2} | keys)


def answers(number: int) -> tuple[str, str]:
    """The earlier and the later version's; of each three the later is the same, longer, shorter."""
    middle = f"some words about {number}"
    return middle, (middle, f"{middle}, and more", "short")[number % 3]


def chat(size: int = 6) -> dict[str, dict[str, list[GradedAnswer]]]:
    """Two versions, two sets; by the reward models the later one is always better."""
    tracks: dict[str, Track] = {"ordinary": "helpfulness", "adversarial": "safety"}
    return {
        version: {
            name: [
                GradedAnswer(
                    Prompt(f"{name}-{n}", (Message("user", f"{name} {n}?"),), track),
                    answers(n)[place], 3, place, place, place, None,
                )
                for n in range(size)
            ]
            for name, track in tracks.items()
        }
        for place, version in enumerate(("sft", "ppo-v1"))
    }  # fmt: skip


def space(folder: Path, lines: list[str] | None = None) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    say = (lambda line: None) if lines is None else lines.append
    return Workspace(folder, 0, torch.device("cpu"), say)


def judged(
    stub: Stub, folder: Path, lines: list[str] | None = None, **keys: Any
) -> tuple[list[Facts], Facts]:
    made = config(stub, **keys)
    judge = open_outside(made, lambda line: None)
    assert judge is not None
    stub.asked.clear()
    return ask_outside(made, judge, chat(), "sft", space(folder, lines))


def counts(rows: list[Facts]) -> dict[str, tuple[int, int, int, int]]:
    return {
        row["set"]: (row["wins"], row["ties"], row["losses"], row["skipped"])
        for row in rows
        if (row["a"], row["b"], row["judge"]) == ("ppo-v1", "sft", "outside")
    }


def asked(stub: Stub) -> list[str]:
    return [body["messages"][0]["content"] for body in stub.asked]


def test_who_likes_length_gives_what_can_be_counted(stub: Stub, tmp_path: Path) -> None:
    stub.say = longer
    rows, facts = judged(stub, tmp_path)
    assert counts(rows) == {
        "ordinary": (2, 2, 2, 0),
        "adversarial": (2, 2, 2, 0),
        "all": (4, 4, 4, 0),
    }
    figures = "num_pairs num_same num_asked num_judged num_swayed num_left".split()
    assert [facts[name] for name in figures] == [12, 4, 8, 8, 0, 0]
    assert facts["letters"] == {"A": 8, "B": 8}
    assert (facts["skipped"], facts["error"], facts["model"]) == ({}, "", "m")
    # The reward models like all of the later one's, of which half won.
    (agreement,) = facts["agreement"]
    assert (agreement["judges"], agreement["share"], agreement["n"]) == (
        ["outside", "reward"],
        0.5,
        8,
    )
    assert facts["path"]["ppo-v1"] == facts["path"]["sft"] == {"helpfulness": 0.5, "safety": 0.5}


def test_both_orders_are_asked_and_equal_texts_are_not(stub: Stub, tmp_path: Path) -> None:
    stub.say = longer
    judged(stub, tmp_path)
    expected = []
    for name in ("ordinary", "adversarial"):
        for number in (1, 2, 4, 5):
            prompt = [Message("user", f"{name} {number}?")]
            earlier, later = answers(number)
            expected += [question(prompt, earlier, later), question(prompt, later, earlier)]
    assert sorted(asked(stub)) == sorted(expected)
    assert stub.most_at_once <= 2


def test_who_favours_a_place_gives_ties(stub: Stub, tmp_path: Path) -> None:
    rows, facts = judged(stub, tmp_path)  # always A
    assert counts(rows)["all"] == (0, 12, 0, 0)
    assert (facts["num_swayed"], facts["letters"]) == (8, {"A": 16})
    assert (facts["agreement"], facts["path"]) == ([], {})


def test_nonsense_and_refused_questions_are_counted(stub: Stub, tmp_path: Path) -> None:
    def say(number: int, body: Facts) -> Reply:
        text = body["messages"][0]["content"]
        if "ordinary 1?" in text:
            return said("Both are fine.")
        return (400, {}, b"{}") if "ordinary 2?" in text else longer(number, body)

    stub.say = say
    lines: list[str] = []
    rows, facts = judged(stub, tmp_path, lines)
    assert counts(rows)["ordinary"] == (1, 2, 1, 2)
    assert facts["skipped"] == {"HTTP 400": 1, NONSENSE: 1}
    assert (facts["num_judged"], facts["num_left"], facts["error"]) == (6, 0, "")
    assert f"  1 skipped: {NONSENSE}" in lines
    # What was answered is not asked again, not even nonsense; what was not, is.
    judged(stub, tmp_path)
    assert {"ordinary 2?" in text for text in asked(stub)} == {True}


def test_refused_questions_in_a_row_end_nothing(stub: Stub, tmp_path: Path) -> None:
    """All comparisons of one prompt stand together: a filter refuses them one after the other."""
    stub.say = lambda number, body: longer(number, body) if number == 0 else (400, {}, b"{}")
    rows, facts = judged(stub, tmp_path)
    assert (facts["num_judged"], facts["num_left"], facts["error"]) == (0, 0, "")
    assert facts["skipped"] == {"HTTP 400": 8}
    assert counts(rows)["all"] == (0, 4, 0, 8)  # the same texts alone


def test_only_nonsense_leaves_no_verdict(stub: Stub, tmp_path: Path) -> None:
    stub.say = lambda number, body: said("Well.")
    said_lines: list[str] = []
    made = config(stub)
    judge = open_outside(made, said_lines.append)
    assert judge is not None
    assert "named neither A nor B when it was tried" in said_lines[0]
    rows, facts = ask_outside(made, judge, chat(3), "sft", space(tmp_path))
    assert counts(rows)["all"] == (0, 2, 0, 4)  # the same texts alone
    assert (facts["num_judged"], facts["skipped"]) == (0, {NONSENSE: 4})


@pytest.mark.parametrize("status", [503, 401])
def test_silence_midway_keeps_what_was_said(stub: Stub, tmp_path: Path, status: int) -> None:
    def say(number: int, body: Facts) -> Reply:
        return longer(number, body) if number < 6 else (status, {}, b"")

    stub.say = say
    lines: list[str] = []
    whole = chat(30)
    made = config(stub, parallel=1)
    judge = open_outside(made, lambda line: None)
    stub.asked.clear()
    assert judge is not None
    rows, facts = ask_outside(made, judge, whole, "sft", space(tmp_path, lines))
    assert facts["num_judged"] == 3
    assert facts["num_left"] == facts["num_asked"] - 3 - sum(facts["skipped"].values())
    why = "8 questions in a row went unanswered (HTTP 503)" if status == 503 else "HTTP 401; check"
    assert why in facts["error"]
    assert "\n" not in facts["error"]
    assert any(line.startswith("the judge stopped: ") and why in line for line in lines)
    wins, ties, losses, skipped = counts(rows)["all"]
    assert (wins + losses, ties, skipped) == (3, 20, 37)
    # Once it speaks again, three pairs are not asked again.
    stub.say = longer
    stub.asked.clear()
    rows, facts = ask_outside(made, judge, whole, "sft", space(tmp_path))
    assert len(stub.asked) == 2 * (40 - 3)
    assert counts(rows)["all"] == (20, 20, 20, 0)
    assert facts["error"] == ""


def _life(url: str, folder: Path) -> None:
    torch.set_num_threads(1)
    made = JudgeConfig(url=url, model="m", attempts=1, parallel=2)
    judge = open_outside(made, lambda line: None)
    assert judge is not None
    ask_outside(made, judge, chat(30), "sft", space(folder))


@pytest.mark.slow
def test_a_killed_evaluation_asks_for_nothing_twice(stub: Stub, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_life, args=(stub.url, tmp_path))

    def say(number: int, body: Facts) -> Reply:
        if number == 30:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        return longer(number, body)

    stub.say = say
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    path = tmp_path / "verdicts.jsonl"
    kept = evaluate_judge.read_verdicts(path)
    assert 10 <= len(kept) <= 15
    with path.open("a") as file:
        file.write('{"question": "0f3')  # the power went off while a line was written
    stub.say = longer
    made = config(stub)
    judge = open_outside(made, lambda line: None)
    assert judge is not None
    stub.asked.clear()
    rows, facts = ask_outside(made, judge, chat(30), "sft", space(tmp_path))
    assert len(stub.asked) == 2 * (40 - len(kept))
    assert counts(rows)["all"] == (20, 20, 20, 0)
    assert facts["letters"] == {"A": 40, "B": 40}
    assert len(evaluate_judge.read_verdicts(path)) == 40


def test_pairs_are_as_many_as_wanted(stub: Stub, tmp_path: Path) -> None:
    stub.say = longer
    rows, facts = judged(stub, tmp_path, pairs=4)
    assert facts["num_pairs"] == 4
    assert sum(counts(rows)["all"]) == 4
    assert {row["set"] for row in rows} == {"ordinary", "adversarial", "all"}


@pytest.mark.parametrize(
    "line",
    ["", "{", "[1]", "3", '{"question": 1}', '{"question": "a", "letters": "AX"}',
     '{"question": "a", "letters": ["A", "B"]}', '{"question": "a", "letters": "A"}',
     "\ufffd\u2028"],
)  # fmt: skip
def test_a_line_that_is_not_whole_is_passed_over(line: str, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(f'{line}\n{{"question": "b", "letters": "AB"}}\n{line}')
    assert {key: one.value for key, one in evaluate_judge.read_verdicts(path).items()} == {"b": 1}


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "check the key"), (403, "check the key"), (404, "check the address and the model"),
     (302, "another address"), (400, r"refuses a plain question \(HTTP 400\)"),
     (503, r"answers no question \(HTTP 503\)")],
)  # fmt: skip
def test_what_is_wrong_at_the_start_is_refused(stub: Stub, status: int, why: str) -> None:
    stub.say = lambda number, body: (status, {}, b"{}")
    with pytest.raises(UserError, match=why) as found:
        open_outside(config(stub), lambda line: None)
    line = str(found.value)
    assert line.startswith(f"evaluate.judge: {stub.url}")
    assert "\n" not in line
    assert KEY_VARIABLE in line
    assert len(stub.asked) == 1
    lines: list[str] = []
    if status in (400, 401, 403, 404, 302):
        with pytest.raises(UserError, match=why):
            look_for_judge(config(stub), lines.append)
        assert lines == []
    else:  # may be there by the time that it is needed
        look_for_judge(config(stub, attempts=4), lines.append)
        assert "asked again when stage evaluate begins" in lines[0]


def test_nobody_there(tmp_path: Path) -> None:
    made = JudgeConfig(url="http://127.0.0.1:9/v1", attempts=1)
    with pytest.raises(UserError, match=r"^evaluate.judge: .*no connection.*nobody is asked$"):
        open_outside(made, lambda line: None)
    lines: list[str] = []
    look_for_judge(made, lines.append)
    assert len(lines) == 1
    look_for_judge(JudgeConfig(), lines.append)
    assert len(lines) == 1
    assert open_outside(JudgeConfig(), lines.append) is None


def test_the_only_model_is_taken(stub: Stub) -> None:
    names = ["it"]

    def say(number: int, body: Facts) -> Reply:
        listed = json.dumps({"data": [{"id": name} for name in names]}).encode()
        return said("A") if body else (200, {}, listed)

    stub.say = say
    judge = open_outside(config(stub, model=""), lambda line: None)
    assert judge is not None
    assert judge.model == "it"
    names.append("other")
    with pytest.raises(UserError, match=r"has 2 models; name one with evaluate\.judge\.model"):
        open_outside(config(stub, model=""), lambda line: None)


def test_the_key_is_sent_and_stands_nowhere(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " sk-very-secret\n")
    stub.say = longer
    lines: list[str] = []
    rows, facts = judged(stub, tmp_path, lines)
    assert set(stub.keys) == {"Bearer sk-very-secret"}
    kept = (tmp_path / "verdicts.jsonl").read_text()
    assert "secret" not in json.dumps([rows, facts, lines]) + kept
    stub.say = lambda number, body: (401, {}, b"no such key: sk-very-secret")
    with pytest.raises(UserError) as found:
        open_outside(config(stub), lambda line: None)
    assert "secret" not in str(found.value)
    for bad in ("two words", "clé"):
        monkeypatch.setenv(KEY_VARIABLE, bad)
        with pytest.raises(UserError, match=f"^{KEY_VARIABLE} holds") as found:
            look_for_judge(config(stub), lines.append)
        assert bad not in str(found.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [("127.0.0.1:8000", "no address"), ("ftp://host/v1", "no address"), ("http://", "no address"),
     ("http://host:port/v1", "no address"), ("http://a b/v1", "no address"),
     ("http://me:secret@host/v1", KEY_VARIABLE), ("https://host/v1?key=secret", KEY_VARIABLE),
     ("http://host/v1#model", "evaluate.judge.model")],
)  # fmt: skip
def test_addresses_that_are_none_or_hold_more(url: str, why: str) -> None:
    with pytest.raises(ValidationError) as found:
        JudgeConfig(url=url)
    message = found.value.errors()[0]["msg"]
    assert why in message
    assert "secret" not in message
