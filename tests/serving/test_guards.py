"""Who is let in: keys, loopback, hosts and origins."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from arriero.records import UserError
from arriero.serving.guards import check_address, is_loopback
from arriero.tokenizer import Tokenizer
from tests.serving.running import NAME, Running, running, tiny_engine

KEY = "sk-llama-42"


@pytest.fixture(scope="module")
def locked(tokenizer: Tokenizer) -> Iterator[Running]:
    with running(tiny_engine(tokenizer), tokenizer, api_key=KEY) as found:
        yield found


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "LocalHost.", "::1", "[::1]"]
)
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_address(host, None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", "", "::2"]
)
def test_any_other_address_needs_a_key(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UserError, match="ARRIERO_API_KEY"):
        check_address(host, None)
    check_address(host, KEY)


@pytest.mark.parametrize("key", ["", " ", "two words", "ключ", "a\nb"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="API key"):
        check_address("127.0.0.1", key)


def test_the_key_opens_and_nothing_else_does(locked: Running) -> None:
    wrong = [{}, {"authorization": KEY}, {"authorization": f"Basic {KEY}"}]
    wrong += [{"authorization": f"Bearer {key}"} for key in ("", KEY[:-1], KEY + "x", "\u00e9")]
    for headers in wrong:
        for method, path in (
            ("GET", "/v1/models"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/metrics"),
        ):
            reply = locked.ask(method, path, headers=headers)
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == "Bearer"
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {KEY}"}
        assert locked.ask("GET", "/v1/models", headers=headers).status == 200
    assert locked.ask("GET", "/health").status == 200
    assert locked.ask("GET", "/").status == 200, "the page itself is no secret"


def test_the_client_says_so_too(locked: Running) -> None:
    wrong = OpenAI(base_url=f"{locked.url}/v1", api_key="wrong", max_retries=0)
    with wrong as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with OpenAI(base_url=f"{locked.url}/v1", api_key=KEY, max_retries=0) as client:
        assert client.models.retrieve(NAME).id == NAME


def test_without_a_key_only_names_of_this_machine_are_answered(server: Running) -> None:
    """DNS rebinding: a name of an attacker's that points here."""
    for host in ("localhost", f"localhost:{server.port}", "127.0.0.1", f"[::1]:{server.port}"):
        assert server.ask("GET", "/v1/models", headers={"host": host}).status == 200
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]"):
        for path in ("/v1/models", "/", "/metrics", "/health"):
            assert server.ask("GET", path, headers={"host": host}).status == 403


def test_pages_of_other_sites_are_refused(server: Running) -> None:
    host = f"127.0.0.1:{server.port}"
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    for origin in (
        "https://evil.example",
        "null",
        f"http://localhost:{server.port}",
        "http://127.0.0.1:1",
    ):
        reply = server.ask("POST", "/v1/chat/completions", body, {"origin": origin})
        assert reply.status == 403
        assert "access-control-allow-origin" not in reply.headers
    own = {"origin": f"http://{host}", "host": host}
    assert server.ask("POST", "/v1/chat/completions", body, own).status == 200


def test_behind_a_key_a_proxy_may_name_the_host(locked: Running) -> None:
    headers = {"host": "llama.example.org", "authorization": f"Bearer {KEY}"}
    assert locked.ask("GET", "/v1/models", headers=headers).status == 200
