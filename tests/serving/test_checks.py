"""Safety checks: what they refuse is never said, streamed or not."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from arriero.records import Message, UserError
from arriero.serving.checks import all_of, load_check, refuse_patterns, refuse_unsafe
from arriero.tokenizer import Tokenizer
from tests.serving.running import NAME, Running, running, tiny_engine

REFUSED = "Not here."


class Watch:
    """A check of a deployer's: refuses a word in the question, and answers as told."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[Message], str | None]] = []
        self.refuses_answers = False
        self.breaks = False
        self.lock = threading.Lock()

    def __call__(self, messages: Sequence[Message], answer: str | None) -> str | None:
        with self.lock:
            self.seen.append((list(messages), answer))
        if self.breaks:
            raise RuntimeError("the check is broken")
        if answer is None:
            return REFUSED if "mule" in messages[-1].content else None
        return REFUSED if self.refuses_answers else None


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def checked(tokenizer: Tokenizer, watch: Watch) -> Iterator[Running]:
    with running(tiny_engine(tokenizer), tokenizer, check=watch) as found:
        yield found


@pytest.fixture
def client(checked: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{checked.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(client: OpenAI, text: str, **options: Any) -> Any:
    return client.chat.completions.create(
        model=NAME,
        messages=[{"role": "user", "content": text}],
        max_tokens=12,
        seed=1,
        **options,
    )


def streamed(client: OpenAI, text: str, **options: Any) -> tuple[str, str | None]:
    said, finish = "", None
    for chunk in ask(client, text, stream=True, **options):
        said += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    return said, finish


def test_what_passes_is_said_as_it_is(client: OpenAI, watch: Watch, server: Running) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none") as unchecked:
        plain = ask(unchecked, "the llama")
    answer = ask(client, "the llama")
    assert answer.choices == plain.choices
    assert answer.usage == plain.usage
    said = plain.choices[0].message.content
    assert watch.seen == [
        ([Message("user", "the llama")], None),
        ([Message("user", "the llama")], said),
    ]
    assert streamed(client, "the llama") == (said, plain.choices[0].finish_reason)


def test_a_question_that_is_refused_is_never_computed(client: OpenAI, watch: Watch) -> None:
    answer = ask(client, "the mule", n=2, logprobs=True)
    assert [choice.message.content for choice in answer.choices] == [REFUSED] * 2
    assert {choice.finish_reason for choice in answer.choices} == {"content_filter"}
    assert answer.usage.completion_tokens == 0
    assert answer.usage.prompt_tokens > 0
    assert answer.choices[0].logprobs is None
    assert [answer for _, answer in watch.seen] == [None]
    assert streamed(client, "the mule") == (REFUSED, "content_filter")


def test_an_answer_that_is_refused_is_never_said(client: OpenAI, watch: Watch) -> None:
    watch.refuses_answers = True
    answer = ask(client, "the llama", logprobs=True)
    (choice,) = answer.choices
    assert choice.message.content == REFUSED
    assert choice.finish_reason == "content_filter"
    assert choice.logprobs is None
    assert answer.usage.completion_tokens > 0
    assert streamed(client, "the llama") == (REFUSED, "content_filter")


def test_completions_are_checked_one_prompt_at_a_time(client: OpenAI, watch: Watch) -> None:
    answer = client.completions.create(
        model=NAME, prompt=["the llama", "the mule"], max_tokens=5, seed=1, n=2
    )
    finishes = [choice.finish_reason for choice in answer.choices]
    assert finishes[2:] == ["content_filter"] * 2
    assert "content_filter" not in finishes[:2]
    assert [choice.text for choice in answer.choices[2:]] == [REFUSED] * 2
    asked = [messages[0].content for messages, answer in watch.seen if answer is None]
    assert asked == ["the llama", "the mule"]


def test_a_check_that_breaks_lets_nothing_through(client: OpenAI, watch: Watch) -> None:
    watch.breaks = True
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "the llama")
    assert (caught.value.status_code, caught.value.code) == (503, "check_failed")
    watch.breaks = False
    assert ask(client, "the llama").choices[0].message.content


def test_patterns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "patterns"
    path.write_text("# what is forbidden\n\nmule\\w*\n^salt$\n", encoding="utf-8")
    check = refuse_patterns(path, REFUSED)
    dialog = [Message("user", "mules?"), Message("assistant", "x"), Message("user", "a llama")]
    assert check(dialog, None) is None, "only what is asked now"
    assert check([Message("user", "Two MULES")], None) == REFUSED
    assert check(dialog, "a mule") == REFUSED
    assert check(dialog, "the salt") is None
    path.write_text("fine\n(", encoding="utf-8")
    with pytest.raises(UserError, match="patterns:2: no regular expression"):
        refuse_patterns(path)
    with pytest.raises(UserError, match="no readable file"):
        refuse_patterns(tmp_path / "missing")


def test_the_threshold_of_a_safety_model() -> None:
    """sigmoid(-1.7346) = 0.15: the score at which the paper calls an answer unsafe."""
    scores = {"unsafe": -1.74, "safe": -1.73}
    check = refuse_unsafe(lambda _, answer: scores[answer], refusal=REFUSED)
    asked = [Message("user", "hi")]
    assert check(asked, None) is None
    assert check(asked, "unsafe") == REFUSED
    assert check(asked, "safe") is None
    assert 1 / (1 + math.exp(1.7346)) == pytest.approx(0.15, abs=1e-4)


def test_a_check_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_checks_of_a_test.py").write_text(
        "def no(messages, answer): return 'no'\nx = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_check("my_checks_of_a_test:no")([], None) == "no"
    for name in ("my_checks_of_a_test", "my_checks_of_a_test:yes", "missing_module:no", ":", ""):
        with pytest.raises(UserError, match="module:function"):
            load_check(name)
    with pytest.raises(UserError, match="no function"):
        load_check("my_checks_of_a_test:x")


def test_the_first_refusal_counts() -> None:
    assert all_of([]) is None
    joined = all_of([lambda m, a: None, lambda m, a: "first", lambda m, a: "second"])
    assert joined is not None
    assert joined([], None) == "first"
