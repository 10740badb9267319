"""POST /v1/score on real servers: the scores, the limits, what is refused."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment.scoring import score_sequences
from arriero.cli import main
from arriero.model.heads import ScoreModel
from arriero.model.weights import save_score_model
from arriero.records import Message
from arriero.serving.app import create_score_app
from arriero.serving.scoring import RewardModel
from arriero.tokenizer import Tokenizer
from arriero.tokenizer.chat import encode_answer, encode_prompt
from tests.serving.running import (
    CONTEXT,
    Running,
    post,
    running,
    serving,
    tiny_engine,
    tiny_model,
    until,
)
from tests.serving.test_serve import served

Body = dict[str, Any]


def turns(*texts: str) -> list[Body]:
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


DIALOGS = [
    turns("the llama", "walks " * n, *(["and?", "over the pass"] * (n % 3))) for n in range(1, 12)
]


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> ScoreModel:
    found = ScoreModel.from_language_model(tiny_model(tokenizer.vocab_size), 1).eval()
    found.score.weight.data *= 30
    return found


@pytest.fixture(scope="module")
def reward(tokenizer: Tokenizer, model: ScoreModel) -> RewardModel:
    def score(sequences: Sequence[Sequence[int]]) -> list[float]:
        return score_sequences(model, sequences).tolist()

    return RewardModel("judge", tokenizer, CONTEXT, score)


@pytest.fixture(scope="module")
def both(tokenizer: Tokenizer, reward: RewardModel) -> Iterator[Running]:
    with running(tiny_engine(tokenizer), tokenizer, reward=reward, max_queue=24) as found:
        yield found


def ask(server: Running, **body: Any) -> Any:
    return server.ask("POST", "/v1/score", body)


def expected(tokenizer: Tokenizer, model: ScoreModel, dialog: list[Body]) -> float:
    messages = [Message(turn["role"], turn["content"]) for turn in dialog]
    ids = encode_prompt(tokenizer, messages[:-1]) + encode_answer(tokenizer, messages[-1].content)
    return float(score_sequences(model, [ids])[0])


def test_scores_are_those_of_score_sequences_whatever_the_batch(
    both: Running, tokenizer: Tokenizer, model: ScoreModel
) -> None:
    wanted = [expected(tokenizer, model, dialog) for dialog in DIALOGS]
    assert max(wanted) - min(wanted) > 0.01
    alone = [ask(both, messages=dialog).json for dialog in DIALOGS]
    assert [each["data"][0]["score"] for each in alone] == pytest.approx(wanted, abs=1e-5)
    together = ask(both, messages=DIALOGS, model="judge").json
    assert [each["score"] for each in together["data"]] == pytest.approx(wanted, abs=1e-5)
    assert [each["index"] for each in together["data"]] == list(range(len(DIALOGS)))
    for each in together["data"]:
        probability = float(torch.sigmoid(torch.tensor(each["score"])))
        assert each["probability"] == pytest.approx(probability, abs=1e-6)
        assert each["object"] == "score"
    assert together["object"] == "list"
    assert together["model"] == "judge"
    num_tokens = sum(each["usage"]["prompt_tokens"] for each in alone)
    usage = {"prompt_tokens": num_tokens, "completion_tokens": 0, "total_tokens": num_tokens}
    assert together["usage"] == usage
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda n: ask(both, messages=DIALOGS[n % 11]).json, range(40)))
    found = [each["data"][0]["score"] for each in many]
    assert found == pytest.approx([wanted[n % 11] for n in range(40)], abs=1e-5)


def test_it_stands_beside_the_chat(both: Running) -> None:
    names = [each["id"] for each in both.ask("GET", "/v1/models").json["data"]]
    assert names == ["tiny", "judge"]
    assert both.ask("GET", "/v1/models/judge").json["id"] == "judge"
    assert both.chat().status == 200
    assert both.chat(model="judge").error["code"] == "model_not_found"
    assert ask(both, messages=DIALOGS[0], model="tiny").error["code"] == "model_not_found"
    assert 'path="/v1/score",status="200"' in both.ask("GET", "/metrics").text


def test_without_a_reward_model_there_is_no_such_path(server: Running) -> None:
    assert ask(server, messages=DIALOGS[0]).status == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages should be a list of messages, or of such lists, not null"),
        ({"messages": "hi"}, "messages should be a list"),
        ({"messages": []}, "messages is empty"),
        ({"messages": [[]]}, r"messages\[0\] is empty"),
        ({"messages": [turns("a", "b"), {}]}, r"messages\[1\] should be a list"),
        ({"messages": [turns("a", "b"), turns("a")]}, r"messages\[1\]: the last message should be"),
        ({"messages": turns("a")}, "the last message should be the assistant's"),
        ({"messages": turns("a", "b")[::-1]}, "should come from the user"),
        ({"messages": turns("a", 1)}, "content should be"),  # type: ignore[arg-type]
        ({"messages": turns("a", "b"), "mesages": []}, "unknown key"),
        ({"messages": turns("a", "b"), "temperature": 1}, "unknown key"),
        ({"messages": turns("a", "b"), "model": 1}, "model should be a string"),
        ({"messages": turns("a", "llama " * 400)}, "context is 256"),
        ({"messages": [turns("a", "b")] * 100}, "the most at once is 32"),
    ],
)
def test_what_is_wrong_is_said(both: Running, body: Body, said: str) -> None:
    reply = ask(both, **body)
    assert reply.status == 400
    assert re.search(said, reply.error["message"]), reply.error["message"]
    assert reply.error["type"] == "invalid_request_error"


def test_raw_faults(both: Running) -> None:
    assert both.ask("POST", "/v1/score", b"{").status == 400
    assert both.ask("POST", "/v1/score", b"\xff").status == 400
    assert both.ask("GET", "/v1/score").status == 405
    assert both.ask("POST", "/v1/score", b" " * (5 << 20)).status == 413
    assert both.ask("POST", "/v1/score", b"{}", {"content-type": "text/plain"}).status == 415
    assert both.ask("POST", "/v1/score", b"{}", {"host": "evil.example"}).status == 403


class Slow:
    """A reward model that waits until it may go on; notes the size of each batch."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.sizes: list[int] = []
        self.fails = False

    def score(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        self.sizes.append(len(sequences))
        assert self.may_go.wait(30)
        if self.fails:
            raise RuntimeError("no")
        return [float(len(ids)) for ids in sequences]


@contextlib.contextmanager
def slow_server(tokenizer: Tokenizer) -> Iterator[tuple[Running, Slow]]:
    slow = Slow()
    reward = RewardModel("judge", tokenizer, CONTEXT, slow.score)
    with serving(create_score_app(reward, max_rows=2, max_queue=3)) as server:
        try:
            yield server, slow
        finally:
            slow.may_go.set()


def test_the_queue_is_bounded_and_everybody_else_gets_a_429(tokenizer: Tokenizer) -> None:
    with slow_server(tokenizer) as (server, slow), ThreadPoolExecutor(30) as pool:
        first = pool.submit(ask, server, messages=DIALOGS[0])
        until(lambda: slow.sizes == [1], 5)
        rest = [pool.submit(ask, server, messages=DIALOGS[0]) for _ in range(20)]
        until(lambda: sum(each.done() for each in rest) == 16, 10)
        refused = [each.result() for each in rest if each.done()]
        assert {reply.status for reply in refused} == {429}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert server.ask("GET", "/health").json["active"] == 1
        assert server.ask("GET", "/health").json["waiting"] == 4
        slow.may_go.set()
        assert first.result().status == 200
        assert sorted(each.result().status for each in rest) == [200] * 4 + [429] * 16
        assert slow.sizes == [1, 2, 2], "what waits is scored together, no more than two at once"
        until(lambda: server.service.num_open == 0, 5)


def test_who_goes_away_frees_its_place(tokenizer: Tokenizer) -> None:
    with slow_server(tokenizer) as (server, slow):
        with server.connect() as first, server.connect() as second:
            first.sendall(post({"messages": DIALOGS[0]}, "/v1/score"))
            until(lambda: slow.sizes == [1], 5)
            second.sendall(post({"messages": DIALOGS[:4]}, "/v1/score"))
            until(lambda: server.service.num_open == 5, 5)
            assert ask(server, messages=DIALOGS[0]).status == 429
        assert until(lambda: server.service.num_open == 0, 5) < 1
        slow.may_go.set()
        assert ask(server, messages=DIALOGS[0]).status == 200
        assert slow.sizes == [1, 1], "nobody computes for who has gone"


def test_a_batch_that_fails_fails_alone(tokenizer: Tokenizer) -> None:
    with slow_server(tokenizer) as (server, slow):
        slow.may_go.set()
        slow.fails = True
        reply = ask(server, messages=DIALOGS[0])
        assert (reply.status, reply.error["code"]) == (503, "failed")
        slow.fails = False
        assert ask(server, messages=DIALOGS[0]).status == 200
        assert server.ask("GET", "/health").status == 200


def test_a_server_that_stops_says_so(tokenizer: Tokenizer) -> None:
    with slow_server(tokenizer) as (server, slow), ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(ask, server, messages=DIALOGS[0])
        until(lambda: slow.sizes == [1], 5)
        server.service.stop()
        assert ask(server, messages=DIALOGS[0]).error["code"] == "stopping"
        assert server.ask("GET", "/health").status == 503
        slow.may_go.set()
        assert under_way.result().status == 200


@pytest.fixture(scope="module")
def reward_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, model: ScoreModel
) -> Path:
    folder = tmp_path_factory.mktemp("reward") / "judge" / "model"
    folder.mkdir(parents=True)
    save_score_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=CONTEXT)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("is_alone", [True, False])
def test_the_command(
    folder: Path, reward_folder: Path, tokenizer: Tokenizer, model: ScoreModel, is_alone: bool
) -> None:
    given = (
        [str(reward_folder)] if is_alone else [str(folder), "--reward-model", str(reward_folder)]
    )
    with served(Path(given[0]), *given[1:]) as server:
        names = [each["id"] for each in json.loads(server.get("/v1/models")[1])["data"]]
        assert names == (["judge"] if is_alone else ["tiny", "judge"])
        connection = server.connect()
        with contextlib.closing(connection):
            connection.sendall(post({"messages": DIALOGS[3]}, "/v1/score"))
            raw = b""
            began = time.monotonic()
            while b"}}" not in raw and time.monotonic() - began < 20:
                raw += connection.recv(1 << 16)
        found = json.loads(raw.partition(b"\r\n\r\n")[2])["data"][0]["score"]
        assert found == pytest.approx(expected(tokenizer, model, DIALOGS[3]), abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [["--context", "9"], ["--dtype", "int8"], ["--max-rows", "0"], ["--refuse-patterns", "p"]],
)
def test_what_a_reward_model_has_no_use_for_is_refused(
    reward_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (tmp_path / "p").write_text("x\n")
    given = [str(tmp_path / "p") if option == "p" else option for option in options]
    assert main(["serve", str(reward_folder), "--port", "0", *given]) == 2
    assert capsys.readouterr().err.startswith("arriero: ")
