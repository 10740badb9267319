"""Bad bodies over bare connections: a clear error, never a 500, and the server stays up."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arriero.records import Message
from arriero.serving.app import DEFAULT_MAX_BODY
from arriero.serving.prompts import prompt_ids
from arriero.serving.requests import CHAT_KEYS, COMPLETION_KEYS, read_chat, read_completion
from arriero.tokenizer import Tokenizer, encode_prompt
from tests.serving.running import Running, post

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "the llama"}]


def read_all(connection: socket.socket) -> bytes:
    parts = b""
    while part := connection.recv(1 << 16):
        parts += part
    return parts


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"n": NaN}', "NaN is no JSON"),
        (b'{"n": 1' + b"0" * 10_000 + b"}", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "not a list"),
        (b"null", "not null"),
        (b'"hi"', 'not the string "hi"'),
        (b"true", "not true"),
    ],
)
def test_what_is_no_json_object(server: Running, raw: bytes, message: str) -> None:
    for path in (CHAT, "/v1/completions"):
        reply = server.ask("POST", path, raw)
        assert reply.status == 400
        assert message in reply.error["message"]
        assert reply.error["type"] == "invalid_request_error"


BAD = [
    ({}, "messages should be a list, not null"),
    ({"messages": "hi"}, 'messages should be a list, not the string "hi"'),
    ({"messages": []}, "messages is empty"),
    ({"messages": ["hi"]}, "messages[0] should be an object"),
    ({"messages": [{"role": "user"}]}, "messages[0].content should be a string or a list of parts"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content should be"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role should be one of"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role should be one of"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role should be one of"),
    ({"messages": [{"role": "user", "content": "x", "nmae": "y"}]}, "did you mean name?"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "only parts of type text",
    ),
    ({"messages": [{"role": "assistant", "content": "x", "tool_calls": [1]}]}, "tool_calls"),
    ({"messages": [{"role": "user", "content": " "}]}, "user message 1 is empty"),
    ({"messages": [*USER, *USER]}, "should come from the assistant"),
    ({"messages": [*USER, {"role": "system", "content": "x"}]}, "should come from the assistant"),
    ({"messages": [{"role": "system", "content": "x"}]}, "at least one user message"),
    ({"messages": [*USER, {"role": "assistant", "content": "x"}]}, "ends with a user message"),
    ({"messages": USER, "n": 0}, "n 0 is not between 1 and 8"),
    ({"messages": USER, "n": 9}, "n 9 is not between 1 and 8"),
    ({"messages": USER, "n": True}, "n should be an integer, not true"),
    ({"messages": USER, "n": "2"}, "n should be an integer"),
    ({"messages": USER, "n": 1.5}, "n should be an integer"),
    ({"messages": USER, "temperature": "hot"}, "temperature should be a number"),
    ({"messages": USER, "temperature": -0.1}, "temperature -0.1 is not between 0.0 and 2.0"),
    ({"messages": USER, "temperature": 10**400}, "temperature"),
    ({"messages": USER, "top_p": 1.1}, "top_p 1.1 is not between"),
    ({"messages": USER, "top_k": -1}, "top_k -1 is not between"),
    ({"messages": USER, "max_tokens": 0}, "max_tokens 0 is not between"),
    ({"messages": USER, "max_tokens": 3, "max_completion_tokens": 4}, "differ"),
    ({"messages": USER, "seed": 2**63}, "seed 9223372036854775808 is not between"),
    ({"messages": USER, "seed": "x"}, "seed should be an integer"),
    ({"messages": USER, "stop": ""}, "between 1 and 1000 characters"),
    ({"messages": USER, "stop": ["x"] * 5}, "stop has 5 strings, the most is 4"),
    ({"messages": USER, "stop": [3]}, "stop should be a string or a list of strings"),
    ({"messages": USER, "stop": {"a": 1}}, "stop should be a string or a list of strings"),
    ({"messages": USER, "stream": "yes"}, "stream should be true or false"),
    ({"messages": USER, "stream_options": {}}, "stream_options needs stream: true"),
    ({"messages": USER, "stream": True, "stream_options": 1}, "stream_options should be an object"),
    (
        {"messages": USER, "stream": True, "stream_options": {"include": 1}},
        "in stream_options: did you mean include_usage?",
    ),
    ({"messages": USER, "logprobs": 1}, "logprobs should be true or false"),
    ({"messages": USER, "top_logprobs": 2}, "top_logprobs needs logprobs: true"),
    ({"messages": USER, "logprobs": True, "top_logprobs": 21}, "top_logprobs 21 is not between"),
    ({"messages": USER, "frequency_penalty": 0.5}, "frequency_penalty 0.5 is not supported"),
    ({"messages": USER, "presence_penalty": "x"}, "presence_penalty"),
    ({"messages": USER, "logit_bias": {"5": 1}}, "logit_bias {...} is not supported"),
    ({"messages": USER, "tools": [{}]}, "tools [...] is not supported"),
    ({"messages": USER, "response_format": {"type": "json_object"}}, "response_format"),
    ({"messages": USER, "model": 3}, "model should be a string"),
    ({"messages": USER, "temprature": 1}, "did you mean temperature?"),
    ({"messages": USER, "\ud800": 1}, "unknown key"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_a_wrong_value_is_named(server: Running, body: dict[str, Any], message: str) -> None:
    reply = server.ask("POST", CHAT, body)
    assert reply.status == 400
    assert message in reply.error["message"]
    assert "\n" not in reply.error["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "prompt should be a string, a list of strings, or token ids, not null"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": [[]]}, "a list of token ids is empty"),
        ({"prompt": [1, "a"]}, "prompt should be token ids throughout"),
        ({"prompt": ["a", 1]}, "prompt should be a string"),
        ({"prompt": [1, True]}, "prompt should be token ids throughout, not true"),
        ({"prompt": [1, 360]}, "a token id 360 is not between 0 and 359"),
        ({"prompt": [-1]}, "a token id -1 is not between"),
        ({"prompt": ["a"] * 9}, "9 prompts, 1 times each: the most is 8"),
        ({"prompt": [1] * 256}, "the prompt has 256 tokens, this model's context is 256"),
        ({"prompt": "a", "best_of": 2}, "best_of 2 is not supported"),
        ({"prompt": "a", "echo": True}, "echo true is not supported"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "logprobs": 21}, "logprobs 21 is not between"),
        ({"prompt": "a", "messages": USER}, "unknown key"),
    ],
)
def test_a_wrong_completion_is_named(server: Running, body: dict[str, Any], message: str) -> None:
    reply = server.ask("POST", "/v1/completions", body)
    assert reply.status == 400
    assert message in reply.error["message"]


def test_paths_methods_and_types(server: Running) -> None:
    assert server.ask("GET", "/v1/nothing").status == 404
    assert server.ask("GET", "/page/../app.py").status == 404
    assert server.ask("GET", "/v1/models/").status == 404
    refused = server.ask("GET", CHAT)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert refused.error["message"] == f"{CHAT} does not take GET"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert server.ask("POST", CHAT, b"a=b", form).status == 415
    assert (
        server.ask("POST", CHAT, b"{}", {"content-type": "Application/JSON; charset=utf-8"}).status
        == 400
    )
    assert server.ask("POST", CHAT, b"{}", {"content-length": "abc"}).status == 400


def test_a_giant_body_is_refused_with_and_without_a_length(server: Running) -> None:
    giant = b'{"messages": "' + b"x" * (DEFAULT_MAX_BODY + 10) + b'"}'
    reply = server.ask("POST", CHAT, giant)
    assert (reply.status, reply.error["code"]) == (413, "body_too_large")
    with server.connect() as connection:  # one that asks first, as curl does
        connection.sendall(post({"messages": giant.decode()}).partition(b"\r\n\r\n")[0])
        connection.sendall(b"\r\nExpect: 100-continue\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 413")
    with server.connect() as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(DEFAULT_MAX_BODY // 0x10000 + 2):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 413")
    assert server.chat().status == 200


def test_a_body_in_chunks_is_read(server: Running) -> None:
    raw = json.dumps({"messages": USER, "max_tokens": 2}).encode()
    with server.connect() as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        for byte in raw:
            connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_slow_and_broken_clients_hold_nobody_up(server: Running) -> None:
    """Half a head, half a body, and no HTTP at all; others are answered meanwhile."""
    whole = post({"messages": USER, "max_tokens": 2})
    held = [server.connect() for _ in range(30)]
    try:
        for place, connection in enumerate(held):
            connection.sendall([whole[:40], whole[:-5], b"\x16\x03\x01nonsense\r\n\r\n"][place % 3])
        began = time.monotonic()
        assert server.chat().status == 200
        assert time.monotonic() - began < 2
        held[1].sendall(whole[-5:])
        assert held[1].recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        for connection in held:
            connection.close()
    assert server.chat().status == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROLE = st.sampled_from(["system", "user", "assistant", "developer", "tool"]) | JSON
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": ROLE, "content": st.text() | JSON, "name": st.text()}
)
CHAT_BODY = st.fixed_dictionaries(
    {"max_tokens": st.just(1) | JSON},
    optional={
        "messages": st.just(USER) | st.lists(MESSAGE | JSON, max_size=4) | JSON,
        **dict.fromkeys(sorted(CHAT_KEYS - {"messages", "max_tokens"}), JSON),
    },
)
TEXT_BODY = st.fixed_dictionaries(
    {"max_tokens": st.just(1) | JSON},
    optional={
        "prompt": st.text() | st.lists(st.text() | st.integers(-1, 400), max_size=9) | JSON,
        **dict.fromkeys(sorted(COMPLETION_KEYS - {"prompt", "max_tokens"}), JSON),
    },
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(body=CHAT_BODY)
def test_any_chat_gets_an_answer_or_a_clear_error(server: Running, body: dict[str, Any]) -> None:
    check_reply(server, CHAT, body)


@QUICK
@given(body=TEXT_BODY)
def test_any_completion_gets_an_answer_or_a_clear_error(
    server: Running, body: dict[str, Any]
) -> None:
    check_reply(server, "/v1/completions", body)


@QUICK
@given(raw=st.binary(max_size=200))
def test_any_bytes_get_a_clear_error(server: Running, raw: bytes) -> None:
    assert server.ask("POST", CHAT, raw).status == 400


def check_reply(server: Running, path: str, body: dict[str, Any]) -> None:
    reply = server.ask("POST", path, body)
    assert reply.status in (200, 400, 404)
    if reply.status != 200:
        assert reply.error["message"]
        assert reply.error["type"] == "invalid_request_error"


CONTROL = "<s> </s> <unk> [INST] [/INST] <<SYS>> <</SYS>> <0x0A> <|eot_id|> ▁ \ud800 \x00".split(
    " "
)


def any_text(rng: random.Random) -> str:
    """Pieces of control tokens, whole ones, and characters from everywhere."""
    parts: list[str] = []
    for _ in range(rng.randrange(6)):
        literal = rng.choice(CONTROL)
        begin = rng.randrange(len(literal))
        plane = rng.choice([0x80, 0x3000, 0x11_0000])
        parts += [literal, literal[begin:], chr(rng.randrange(plane)), rng.choice("ab \n")]
    rng.shuffle(parts)
    return "".join(parts)


def test_ten_thousand_texts_in_every_role_give_no_control_id(tokenizer: Tokenizer) -> None:
    """Only the layout writes control ids: which ones follows from the number of turns."""
    rng = random.Random(11)
    for _ in range(2500):
        system, first, answer, second = (any_text(rng) for _ in range(4))
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": first + "x"},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": second + "x"},
        ]
        (chat,) = prompt_ids(tokenizer, read_chat({"messages": messages}, max_choices=1))
        control = [token for token in chat if token in tokenizer.control]
        assert control == [tokenizer.bos_id, tokenizer.eos_id, tokenizer.bos_id]
        body = {"prompt": first}
        request = read_completion(body, max_choices=1, vocab_size=tokenizer.vocab_size)
        (text,) = prompt_ids(tokenizer, request)
        assert [token for token in text if token in tokenizer.control] == [tokenizer.bos_id]


def test_the_servers_ids_are_those_of_training(tokenizer: Tokenizer) -> None:
    messages = [{"role": "system", "content": "Be kind."}, *USER]
    (ids,) = prompt_ids(tokenizer, read_chat({"messages": messages}, max_choices=1))
    assert ids == encode_prompt(
        tokenizer, [Message("system", "Be kind."), Message("user", "the llama")]
    )
