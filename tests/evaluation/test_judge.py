"""An LLM judge against real servers: our own, and one that gives whatever a test tells it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.evaluation.chat_client import ChatClient, Unanswered
from arriero.evaluation.judge import NONSENSE, LanguageJudge, question, read_verdict
from arriero.evaluation.opening import JudgeOptions, open_scorers
from arriero.inference.engine import Engine
from arriero.model.weights import load_language_model
from arriero.records import Message, Preference, UserError
from arriero.tokenizer import load_tokenizer
from tests.evaluation.conftest import pair
from tests.evaluation.stub import Reply, Stub, longer, said, stubbed
from tests.serving.running import running


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stubbed() as found:
        yield found


def client(stub: Stub, **options: Any) -> ChatClient:
    return ChatClient(stub.url, **{"timeout": 5.0, "attempts": 3, "pause": 0.01, **options})


def judge(stub: Stub, **options: Any) -> LanguageJudge:
    return LanguageJudge("judge", client(stub, **options), "m", at_once=2)


def test_both_orders_are_asked_and_the_verdict_follows_the_answer(stub: Stub) -> None:
    stub.say = longer
    rows = [pair(0, "a long answer", "short"), pair(1, "short", "a long answer")]
    found = judge(stub)
    assert found.compare(rows) == [1, 0]
    assert len(stub.asked) == 4
    assert found.letters == {"A": 2, "B": 2}
    assert found.num_swayed == 0
    for number, row in enumerate(rows):
        texts = {body["messages"][0]["content"] for body in stub.asked}
        assert question(row.prompt, row.chosen, row.rejected) in texts, number
        assert question(row.prompt, row.rejected, row.chosen) in texts, number
    assert {body["temperature"] for body in stub.asked} == {0}


def test_who_favours_a_place_decides_nothing(stub: Stub) -> None:
    found = judge(stub)  # always A
    assert found.compare([pair(number) for number in range(6)]) == [0.5] * 6
    assert found.letters == {"A": 12}
    assert found.num_swayed == 6
    assert stub.most_at_once <= 2


def test_nonsense_counts_for_nothing(stub: Stub) -> None:
    def say(_: int, body: dict[str, Any]) -> Reply:
        text = body["messages"][0]["content"]
        return said({"road": "Both.", "river": None}.get(text.split("User: ")[1].split()[0], "B"))

    stub.say = say
    found = judge(stub)
    prompts = [3, 2, 0]  # road, river, salt
    assert found.compare([pair(number) for number in prompts]) == [None, None, 0.5]
    assert found.skipped == {NONSENSE: 2}


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"retry_after": "0"}, b""),
        (503, {}, b"{}"),
        (200, {}, b"<html>"),
        (200, {"content_length": "100"}, b"{"),
    ],
    ids=["429", "503", "no json", "cut off"],
)
def test_what_passes_is_asked_again(stub: Stub, fault: Reply) -> None:
    stub.say = lambda number, body: fault if number % 3 < 2 else said("B")
    assert client(stub).answer("m", [], 4) == "B"
    assert len(stub.asked) == 3
    stub.say = lambda number, body: fault
    with pytest.raises(Unanswered):
        client(stub).answer("m", [], 4)
    assert len(stub.asked) == 6


def test_pauses_double_and_retry_after_is_kept(stub: Stub) -> None:
    at: list[float] = []

    def say(number: int, _: dict[str, Any]) -> Reply:
        at.append(time.monotonic())
        return (429, {"retry_after": "0.4"}, b"") if number == 2 else (503, {}, b"")

    stub.say = say
    with pytest.raises(Unanswered, match="HTTP 503"):
        client(stub, attempts=4, pause=0.1).answer("m", [], 4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4


def test_slow_answers_and_no_answers(stub: Stub) -> None:
    def slow(number: int, _: dict[str, Any]) -> Reply:
        time.sleep(0.6)
        return said("A")

    stub.say = slow
    with pytest.raises(Unanswered, match="in time"):
        client(stub, timeout=0.1, attempts=2).answer("m", [], 4)
    nobody = ChatClient("http://127.0.0.1:9", attempts=2, pause=0.01)
    with pytest.raises(Unanswered, match="no connection"):
        nobody.answer("m", [], 4)
    found = LanguageJudge("judge", nobody, "m", at_once=2)
    with pytest.raises(UserError, match="8 questions in a row"):
        found.compare([pair(number) for number in range(100)])


def test_a_single_bad_question_is_skipped(stub: Stub) -> None:
    def say(_: int, body: dict[str, Any]) -> Reply:
        return (400, {}, b"{}") if "wool 1?" in body["messages"][0]["content"] else said("A")

    stub.say = say
    found = judge(stub)
    assert found.compare([pair(0), pair(1), pair(2)]) == [0.5, None, 0.5]
    assert found.skipped == {"HTTP 400": 1}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_user_must_mend_is_said_at_once(stub: Stub, status: int) -> None:
    stub.say = lambda number, body: (status, {}, b"{}")
    with pytest.raises(UserError, match=f"HTTP {status}; check"):
        judge(stub).compare([pair(0)])
    assert len(stub.asked) <= 2, "nothing is asked again"


def test_the_key_is_sent_and_goes_to_no_other_address(stub: Stub) -> None:
    assert client(stub, key="secret").answer("m", [], 4) == "A"
    assert client(stub).answer("m", [], 4) == "A"
    assert stub.keys == ["Bearer secret", None]
    for status in (302, 307):
        stub.say = lambda number, body, status=status: (
            status,
            {"location": f"{stub.url}/elsewhere"},
            b"",
        )
        before = len(stub.asked)
        with pytest.raises(UserError, match="another address"):
            client(stub, key="secret").answer("m", [], 4)
        assert len(stub.asked) == before + 1


def test_the_only_model_is_found(stub: Stub) -> None:
    stub.say = lambda number, body: (200, {}, b'{"data": [{"id": "it"}]}')
    (found,) = open_scorers([stub.url], JudgeOptions(), torch.device("cpu"))
    assert isinstance(found, LanguageJudge)
    assert (found.name, found.model) == ("it", "it")
    stub.say = lambda number, body: (200, {}, b'{"data": [{"id": "it"}, {"id": "other"}]}')
    with pytest.raises(UserError, match="2 models; name one with #MODEL"):
        open_scorers([stub.url], JudgeOptions(), torch.device("cpu"))
    before = len(stub.asked)
    open_scorers([f"{stub.url}#it"], JudgeOptions(), torch.device("cpu"))
    assert len(stub.asked) == before, "a named model needs no question"


def test_our_own_server_as_judge(chat_folder: Path, pairs: list[Preference]) -> None:
    """Random weights talk nonsense: every pair is judged or counted, and nothing breaks."""
    tokenizer = load_tokenizer(chat_folder)
    model = load_language_model(chat_folder).eval()
    engine = Engine(model, ends=tokenizer.special.ends, max_rows=4)
    with running(engine, tokenizer) as server:
        options = JudgeOptions(attempts=1)
        (found,) = open_scorers([f"{server.url}/v1"], options, torch.device("cpu"))
        verdicts = found.compare(pairs[:6])  # type: ignore[union-attr]
    assert sum(verdict is None for verdict in verdicts) == sum(found.skipped.values())
    assert set(found.skipped) <= {NONSENSE}


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A", "A"),
        (" b.\n", "B"),
        ("**B**", "B"),
        ("[[A]]", "A"),
        ("Answer B", "B"),
        ("The better answer is A.", "A"),
        ("First this.\n\nAnswer: B", "B"),
        ("A and B", None),
        ("A good one", None),
        ("", None),
        ("C", None),
        ("Both", None),
    ],
)
def test_verdicts(reply: str, letter: str | None) -> None:
    assert read_verdict(reply) == letter


def test_the_question_shows_all_turns() -> None:
    turns = (
        Message("system", "Be kind."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Bye"),
    )
    text = question(turns, "first", "second")
    order = ["System: Be kind.", "User: Hi", "Assistant: Hello", "User: Bye", "# Answer A\n\nfirst"]
    order += ["# Answer B\n\nsecond"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_a_key_goes_to_one_address(stub: Stub) -> None:
    port = int(stub.url.split(":")[2].split("/")[0])
    two = [f"a={stub.url}#m", "length", f"b=http://127.0.0.1:{port + 1}/v1#m"]
    cpu = torch.device("cpu")
    with pytest.raises(UserError, match=f"sent to http://127.0.0.1:{port} and to http://127"):
        open_scorers([f"a={stub.url}", two[2]], JudgeOptions(key="secret"), cpu)
    assert not stub.keys, "nobody was asked, not even for its models"
    assert len(open_scorers(two, JudgeOptions(), cpu)) == 3
    same = [two[0], f"b={stub.url}/#other", f"c={stub.url.upper().replace('HTTP', 'http')}#m"]
    assert len(open_scorers(same, JudgeOptions(key="secret"), cpu)) == 3
    with pytest.raises(UserError, match="no address"):
        open_scorers(["http://127.0.0.1:port/v1#m"], JudgeOptions(key="secret"), cpu)
