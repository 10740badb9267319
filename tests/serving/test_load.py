"""Many clients at once, clients that leave, an engine that breaks: nobody else notices."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI

from arriero.inference.engine import Engine
from arriero.inference.request import Drawn
from arriero.serving import answering, guards
from arriero.tokenizer import Tokenizer
from tests.serving.running import (
    NAME,
    Reply,
    Running,
    endless_engine,
    post,
    running,
    tiny_engine,
    tiny_model,
    until,
)

USER: Any = [{"role": "user", "content": "the llama"}]
ENDLESS = {"messages": USER, "max_tokens": 100_000}


@pytest.fixture(scope="module")
def endless(tokenizer: Tokenizer) -> Iterator[Running]:
    """Two rows, two places in the queue, answers that do not end by themselves."""
    with running(endless_engine(tokenizer, 2), tokenizer, max_queue=2) as found:
        yield found


def start(server: Running, **options: Any) -> socket.socket:
    """A client that has sent its request and reads nothing yet."""
    connection = server.connect()
    connection.sendall(post({**ENDLESS, **options}))
    return connection


def is_idle(server: Running) -> bool:
    worker = server.service.worker
    return worker.num_active == 0 and worker.num_open == 0


@pytest.mark.parametrize("is_streamed", [True, False])
def test_who_leaves_frees_the_row_within_a_second(endless: Running, is_streamed: bool) -> None:
    until(lambda: is_idle(endless), 5)
    connection = start(endless, stream=is_streamed, n=2)
    until(lambda: endless.service.worker.num_active == 2, 5)
    if is_streamed:
        assert b"data: " in connection.recv(4096)
    time.sleep(0.1)
    assert endless.service.worker.num_active == 2, "nothing ends it but its leaving"
    connection.close()
    assert until(lambda: is_idle(endless), 1) < 1


def test_who_leaves_the_queue_is_never_computed(endless: Running) -> None:
    until(lambda: is_idle(endless), 5)
    worker = endless.service.worker
    with start(endless, n=2), start(endless, n=2) as waiting:
        # Open at once, active when the engine has come to them.
        until(lambda: (worker.num_open, worker.num_active) == (4, 2), 5)
        assert worker.num_waiting == 2
        waiting.close()
        until(lambda: worker.num_open == 2, 1)
    until(lambda: is_idle(endless), 1)


def test_past_the_queue_there_is_429_and_when_to_come_again(endless: Running) -> None:
    until(lambda: is_idle(endless), 5)
    held = [start(endless, n=2), start(endless, n=2)]
    until(lambda: endless.service.worker.num_open == 4, 5)
    reply = endless.chat()
    assert reply.status == 429
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "queue_full")
    client = OpenAI(base_url=f"{endless.url}/v1", api_key="none", max_retries=0)
    with client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=NAME, messages=USER)
    assert endless.ask("GET", "/health").status == 200
    for connection in held:
        connection.close()
    until(lambda: is_idle(endless), 1)
    assert endless.chat().status == 200


def test_at_ten_times_the_load_the_caps_hold(tokenizer: Tokenizer) -> None:
    """80 clients at once on 4 rows and 4 places; then everything is as before."""
    with running(tiny_engine(tokenizer, 4), tokenizer, max_queue=4) as server:
        worker = server.service.worker
        most_active = most_open = 0
        is_over = threading.Event()

        def look() -> None:
            nonlocal most_active, most_open
            while not is_over.wait(0.0005):
                most_active = max(most_active, worker.num_active)
                most_open = max(most_open, worker.num_open)

        looker = threading.Thread(target=look)
        looker.start()
        barrier = threading.Barrier(80)

        def ask(seed: int) -> Reply:
            barrier.wait()
            return server.chat(seed=seed, max_tokens=200, stream=seed % 2 == 0)

        with ThreadPoolExecutor(80) as pool:
            replies = list(pool.map(ask, range(80)))
        is_over.set()
        looker.join()
        counts = Counter(reply.status for reply in replies)
        assert set(counts) == {200, 429}
        assert counts[200] >= 8
        assert all("retry-after" in reply.headers for reply in replies if reply.status == 429)
        assert most_active <= 4
        assert most_open <= 8
        until(lambda: is_idle(server), 1)
        assert server.chat().status == 200


def test_a_client_that_never_reads_holds_up_nobody(endless: Running) -> None:
    """Its answer piles up in the sockets; the other one streams on."""
    until(lambda: is_idle(endless), 5)
    silent = start(endless, stream=True)
    reader = start(endless, stream=True)
    until(lambda: endless.service.worker.num_active == 2, 5)
    received = 0
    while received < 100_000:
        received += len(reader.recv(1 << 16))
    reader.close()
    silent.close()
    until(lambda: is_idle(endless), 2)


def test_a_client_that_never_reads_is_given_up(
    endless: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_SEND_SECONDS", 0.3)
    until(lambda: is_idle(endless), 5)
    silent = start(endless, stream=True, n=2, logprobs=True, top_logprobs=20)
    until(lambda: endless.service.worker.num_active == 2, 5)
    until(lambda: is_idle(endless), 30)
    silent.close()


def test_a_body_that_does_not_come_is_given_up(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_BODY_SECONDS", 0.2)
    with server.connect() as connection:
        connection.sendall(post(ENDLESS)[:-3])
        reply = b""
        while part := connection.recv(1 << 16):
            reply += part
    assert reply.startswith(b"HTTP/1.1 408")


def test_what_the_engine_refuses_is_said(tokenizer: Tokenizer) -> None:
    """A model with fewer tokens than its tokenizer: `arriero serve` would not have opened it."""
    engine = Engine(tiny_model(270), ends=(2,), max_rows=2)
    with running(engine, tokenizer) as server:
        reply = server.chat()
        assert reply.status == 400
        assert "outside the vocabulary of 270" in reply.error["message"]
        until(lambda: is_idle(server), 1)
        assert server.ask("GET", "/health").status == 200


class Breaking(Engine):
    """An engine that breaks at its twentieth step."""

    steps = 0

    def step(self) -> list[Drawn]:
        self.steps += 1
        if self.steps == 20:
            raise RuntimeError("a bit has flipped")
        return super().step()


@pytest.mark.parametrize("is_streamed", [True, False])
def test_an_engine_that_breaks_is_said_to_be_broken(
    tokenizer: Tokenizer, is_streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    good = tiny_engine(tokenizer)
    broken = Breaking.__new__(Breaking)
    broken.__dict__ = good.__dict__
    with running(broken, tokenizer) as server:
        assert server.ask("GET", "/health").status == 200
        reply = server.chat(max_tokens=200, seed=0, stream=is_streamed)
        if is_streamed:
            assert reply.status == 200
            last = reply.text.strip().splitlines()[-1]
            assert '"code":"engine_stopped"' in last
            assert "[DONE]" not in reply.text
        else:
            assert (reply.status, reply.error["code"]) == (503, "engine_stopped")
        health = server.ask("GET", "/health")
        assert (health.status, health.json["status"]) == (503, "engine stopped")
        assert server.chat().status == 503
        assert server.ask("GET", "/v1/models").status == 200
    assert "a bit has flipped" in caplog.text


def test_a_broken_stream_is_an_error_to_the_client(tokenizer: Tokenizer) -> None:
    broken = Breaking.__new__(Breaking)
    broken.__dict__ = tiny_engine(tokenizer).__dict__
    with running(broken, tokenizer) as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(openai.APIError, match="engine has stopped"):
            for _ in client.chat.completions.create(
                model=NAME, messages=USER, max_tokens=200, seed=0, stream=True
            ):
                pass


def test_what_the_metrics_count(tokenizer: Tokenizer) -> None:
    with running(tiny_engine(tokenizer), tokenizer) as server:
        usage = server.chat(n=2).json["usage"]
        server.chat(stream=True)
        server.chat(temperature=9)
        server.ask("GET", "/nowhere")
        lines = server.ask("GET", "/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        chats = 'arriero_requests_total{path="/v1/chat/completions",status='
        assert values[chats + '"200"}'] == "2"
        assert values[chats + '"400"}'] == "1"
        assert values['arriero_requests_total{path="other",status="404"}'] == "1"
        assert values["arriero_prompt_tokens_total"] == str(2 * usage["prompt_tokens"])
        assert int(values["arriero_generated_tokens_total"]) > usage["completion_tokens"]
        assert values["arriero_first_token_seconds_count"] == "2"
        assert values['arriero_first_token_seconds_bucket{le="+Inf"}'] == "2"
        assert values["arriero_active_sequences"] == values["arriero_waiting_sequences"] == "0"
        until(lambda: server.service.metrics.tokens_per_second > 0, 3)
