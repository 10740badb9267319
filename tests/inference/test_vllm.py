"""What is asked of a vLLM server, what is made of its answers, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from arriero.inference.generate import Interrupted, Sampling, generate
from arriero.inference.loopback import Loopback, loopback_address
from arriero.inference.request import sample_seed
from arriero.inference.vllm import VllmServer
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel
from arriero.model.weights import save_language_model
from arriero.records import UserError
from arriero.records.special_ids import LLAMA2_IDS
from tests.inference.vllm_server import StandIn, nobody, standing_in

ENDS = (2,)
CONFIG = ModelConfig(
    vocab_size=31, dim=16, num_layers=1, num_heads=2, num_kv_heads=1, ffn_dim=24, context=48
)
PROMPTS = [[1, 5, 6], [1, 9, 4, 7, 22, 13], [1, 3], [1, 8, 8, 8, 8]]
SAMPLING = Sampling(temperature=1.2, max_new_tokens=12)


def folder_of(seed: int, folder: Path, config: ModelConfig = CONFIG) -> Path:
    save_language_model(LanguageModel.fresh(config, seed), folder, LLAMA2_IDS)
    return folder


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with standing_in(folder_of(0, tmp_path / "started-on")) as server:
        yield server


def sampled(server: StandIn, **changes: Any) -> list[list[Any]]:
    settings = {"seed": 3, "ends": ENDS} | changes
    return VllmServer.connect(server.url).sample(PROMPTS, SAMPLING, **settings)


def test_ids_and_log_probabilities_are_those_of_our_own_engine(stand_in: StandIn) -> None:
    settings: dict[str, Any] = {"num_samples": 3, "keys": [7, 8, 9, 10]}
    found = sampled(stand_in, **settings)
    own = generate(stand_in.model, PROMPTS, SAMPLING, seed=3, ends=ENDS, **settings)
    assert [[one.tokens for one in samples] for samples in found] == [
        [one.tokens for one in samples] for samples in own
    ]
    assert [[one.ended for one in samples] for samples in found] == [
        [one.ended for one in samples] for samples in own
    ]
    assert {one.ended for samples in found for one in samples} == {True, False}
    for samples, expected in zip(found, own, strict=True):
        for one, other in zip(samples, expected, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_what_is_asked_leaves_nothing_to_the_server(stand_in: StandIn) -> None:
    sampled(stand_in, num_samples=2)
    assert sorted(body["seed"] for body in stand_in.asked) == sorted(
        sample_seed(3, key, sample) for key in range(4) for sample in range(2)
    )
    for body in stand_in.asked:
        assert body["prompt"] in PROMPTS
        assert (body["temperature"], body["max_tokens"]) == (1.2, 12)
        assert (body["top_p"], body["top_k"], body["min_p"]) == (1.0, 0, 0.0)
        assert body["repetition_penalty"] == 1.0
        assert (body["stop_token_ids"], body["ignore_eos"]) == ([2], True)
        assert body["return_token_ids"]


def test_other_weights_are_loaded_and_what_was_kept_of_prompts_goes(
    stand_in: StandIn, tmp_path: Path
) -> None:
    before = sampled(stand_in)
    other = folder_of(1, tmp_path / "other")
    VllmServer.connect(stand_in.url).load(other)
    assert (stand_in.loads, stand_in.resets) == ([other], 1)
    assert sampled(stand_in) != before


def test_many_requests_at_once_and_no_more_than_may_be(stand_in: StandIn) -> None:
    under_way, most = [0], [0]
    stand_in.seconds = 0.05

    def came() -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])

    def left(_: Any) -> None:
        under_way[0] -= 1

    stand_in.on_completion, stand_in.change = came, left
    sampled(stand_in, num_samples=4, max_rows=5)
    assert 1 < most[0] <= 5


def test_samples_that_are_unwanted_are_given_up_at_once(stand_in: StandIn) -> None:
    came = Event()
    stand_in.seconds, stand_in.on_completion = 60.0, came.set
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        sampled(stand_in, num_samples=4, max_rows=3, is_unwanted=came.is_set)
    assert time.monotonic() - begin < 5
    assert len(stand_in.asked) <= 3


def test_nothing_is_asked_for_no_prompts(stand_in: StandIn) -> None:
    assert VllmServer.connect(stand_in.url).sample([], SAMPLING, seed=0, ends=ENDS) == []
    assert not stand_in.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8000",
        "http://example.org:8000",
        "https://127.0.0.1:8000",
        "http://127.0.0.1",
        "http://127.0.0.1:eight",
        "http://127.0.0.1:8000/v1",
        "http://me:secret@127.0.0.1:8000",
        "http://127.0.0.1.example.org:8000",
        "127.0.0.1:8000",
    ],
)
def test_an_address_that_is_none_of_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="no address on this machine"):
        loopback_address(url)


def test_addresses_of_this_machine() -> None:
    assert loopback_address("http://127.0.0.1:8000/") == ("127.0.0.1", 8000)
    assert loopback_address("http://localhost:1") == ("localhost", 1)
    assert loopback_address("http://[::1]:80") == ("::1", 80)


def test_no_proxy_is_asked(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", nobody())
    VllmServer.connect(stand_in.url)


def test_nobody_is_there() -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1.*refused; is vLLM still running there\?"):
        VllmServer.connect(nobody())


def test_a_server_that_is_silent(stand_in: StandIn) -> None:
    stand_in.seconds = 60.0
    server = VllmServer.connect(stand_in.url, timeout=0.3)
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"no answer to /v1/completions within 0\.3 s"):
        server.sample(PROMPTS, SAMPLING, seed=0, ends=ENDS, max_rows=1)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("path", "reply", "message"),
    [
        ("/v1/models", (200, {"data": []}), "names no model as vLLM does"),
        ("/v1/models", (200, {"data": [{"id": "ours"}]}), "names no model as vLLM does"),
        ("/v1/models", (401, {"error": "Unauthorized"}), "names no model.*Unauthorized"),
        ("/v1/models", (200, b"<html>"), "is no JSON"),
        ("/server_info", (404, {"detail": "Not Found"}), "VLLM_SERVER_DEV_MODE=1"),
        ("/server_info", (200, {"vllm_config": "a string"}), "does not say"),
        (
            "/server_info",
            (200, {"vllm_config": {"model_config": {"logprobs_mode": "raw_logprobs"}}}),
            "are raw_logprobs; start vllm serve with --logprobs-mode processed_logprobs",
        ),
    ],
)
def test_a_server_that_will_not_do(
    stand_in: StandIn, path: str, reply: tuple[int, Any], message: str
) -> None:
    stand_in.replies[path] = reply
    with pytest.raises(UserError, match=message) as raised:
        VllmServer.connect(stand_in.url)
    assert stand_in.url in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "reply", "message"),
    [
        ("/collective_rpc", (404, {"detail": "Not Found"}), "VLLM_SERVER_DEV_MODE=1"),
        (
            "/collective_rpc",
            (500, {"error": {"message": "Worker failed\nwith shape [3]"}}),
            r"could not load .*Worker failed with shape \[3\].*start the server again",
        ),
        ("/reset_prefix_cache", (200, {"success": False}), "keeps what it computed"),
        ("/reset_prefix_cache", (500, {}), "keeps what it computed"),
    ],
)
def test_weights_that_it_does_not_take(
    stand_in: StandIn, path: str, reply: tuple[int, Any], message: str
) -> None:
    server = VllmServer.connect(stand_in.url)
    stand_in.replies[path] = reply
    with pytest.raises(UserError, match=message) as raised:
        server.load(stand_in.folder)
    assert "\n" not in str(raised.value)


def in_choice(**fields: Any) -> Any:
    def change(reply: dict[str, Any]) -> None:
        reply["choices"][0] |= fields

    return change


def fewer_logprobs(reply: dict[str, Any]) -> None:
    reply["choices"][0]["logprobs"]["token_logprobs"].pop()


def no_logprob(reply: dict[str, Any]) -> None:
    reply["choices"][0]["logprobs"]["token_logprobs"][0] = float("nan")


def a_token_less(reply: dict[str, Any]) -> None:
    choice = reply["choices"][0]
    choice["token_ids"], choice["finish_reason"] = choice["token_ids"][:-1] or [5], "length"
    logprobs = choice["logprobs"]["token_logprobs"]
    choice["logprobs"]["token_logprobs"] = logprobs[:-1] or logprobs


def past_its_end(reply: dict[str, Any]) -> None:
    choice = reply["choices"][0]
    choice["token_ids"], choice["finish_reason"] = [2, 5], "length"
    choice["logprobs"]["token_logprobs"] = [-1.0, -1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_choice(token_ids=None), "no token ids"),
        (in_choice(token_ids=["5"]), "no token ids"),
        (in_choice(token_ids=[]), "no token ids"),
        (in_choice(token_ids=[-1]), "no token ids"),
        (in_choice(token_ids=[True]), "no token ids"),
        (in_choice(logprobs=None), r"\d+ token ids and 0 log-probabilities"),
        (fewer_logprobs, r"\d+ token ids and \d+ log-probabilities"),
        (no_logprob, "no log-probability"),
        (in_choice(prompt_token_ids=[1, 1, 5, 6]), "another prompt"),
        (in_choice(token_ids=[5] * 13, logprobs={"token_logprobs": [-1.0] * 13}), "13 tokens, 12"),
        (past_its_end, "does not end where"),
        (in_choice(finish_reason="abort"), "ended by 'abort'"),
        (a_token_less, r"cut off after \d+ of 12"),
        (lambda reply: reply["choices"].clear(), "no completion"),
        (lambda reply: reply["choices"].append(reply["choices"][0]), "no completion"),
        (lambda _: [], "no completion"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for(
    stand_in: StandIn, change: Any, message: str
) -> None:
    stand_in.change = change
    with pytest.raises(UserError, match=message) as raised:
        sampled(stand_in)
    assert str(raised.value).startswith(stand_in.url)


def test_an_error_of_the_server_is_told_with_its_words(stand_in: StandIn) -> None:
    stand_in.replies["/v1/completions"] = (400, {"error": {"message": "top_k must be at least 1"}})
    with pytest.raises(UserError, match=r"HTTP 400 \(top_k must be at least 1\)"):
        sampled(stand_in)


def test_a_server_with_less_room_is_refused_before_it_cuts_answers(stand_in: StandIn) -> None:
    stand_in.context = 17
    with pytest.raises(UserError, match=r"takes 17 tokens.*--max-model-len 18"):
        sampled(stand_in)
    assert not stand_in.asked


def test_an_answer_that_is_too_large(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arriero.inference.loopback._MOST_BYTES", 50)
    with pytest.raises(UserError, match="too large"):
        Loopback(stand_in.url).ask("/v1/models")
