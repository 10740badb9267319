"""The official client against a real server: what it reads back, and which errors it raises."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from arriero.records import Message
from arriero.tokenizer import Tokenizer, encode_prompt
from tests.serving.running import CONTEXT, NAME

ASKED: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "the llama walks over"},
]


def ask(client: OpenAI, **options: Any) -> ChatCompletion:
    options = {"model": NAME, "messages": ASKED, "max_tokens": 12, "seed": 1, **options}
    return client.chat.completions.create(**options)


def said(answer: ChatCompletion) -> list[str | None]:
    return [choice.message.content for choice in answer.choices]


def test_a_chat_with_exact_counts(client: OpenAI, tokenizer: Tokenizer) -> None:
    answer = ask(client)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert (answer.object, answer.model) == ("chat.completion", NAME)
    prompt = encode_prompt(tokenizer, [Message(one["role"], one["content"]) for one in ASKED])
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens <= 12
    assert (choice.finish_reason == "length") == (answer.usage.completion_tokens == 12)
    assert answer.usage.total_tokens == len(prompt) + answer.usage.completion_tokens


def test_a_seed_fixes_the_answer_and_its_lack_does_not(client: OpenAI) -> None:
    assert said(ask(client, seed=5)) == said(ask(client, seed=5))
    assert len({*said(ask(client, seed=5)), *said(ask(client, seed=6))}) == 2
    assert said(ask(client, seed=None)) != said(ask(client, seed=None))
    assert said(ask(client, seed=-3)) == said(ask(client, seed=-3))
    coldest = {"temperature": 0, "max_completion_tokens": 12, "max_tokens": None}
    assert said(ask(client, seed=1, **coldest)) == said(ask(client, seed=2, **coldest))
    greedy = said(ask(client, seed=1, temperature=0))
    assert (
        greedy
        == said(ask(client, seed=3, top_p=0))
        == said(ask(client, seed=4, extra_body={"top_k": 1}))
    )


def test_a_seed_gives_the_same_among_others(client: OpenAI) -> None:
    alone = said(ask(client, seed=9, max_tokens=40))
    with ThreadPoolExecutor(16) as pool:
        others = [pool.submit(ask, client, seed=seed, max_tokens=60) for seed in range(100, 107)]
        mine = pool.submit(ask, client, seed=9, max_tokens=40)
        others += [pool.submit(ask, client, seed=seed, max_tokens=60) for seed in range(107, 115)]
        assert said(mine.result()) == alone
        assert len({tuple(said(other.result())) for other in others}) == 15


def test_several_choices_differ_and_count_one_prompt(client: OpenAI) -> None:
    one, four = ask(client), ask(client, n=4)
    assert [choice.index for choice in four.choices] == [0, 1, 2, 3]
    assert len(set(said(four))) == 4
    assert said(four)[0] == said(one)[0], "the first sample is that of n = 1"
    assert one.usage is not None
    assert four.usage is not None
    assert four.usage.prompt_tokens == one.usage.prompt_tokens
    assert four.usage.completion_tokens > one.usage.completion_tokens


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_says_what_the_whole_says(client: OpenAI, n: int) -> None:
    whole = ask(client, n=n, max_tokens=50)
    texts, finishes = [""] * n, [""] * n
    usage = None
    options: Any = {"model": NAME, "messages": ASKED, "max_tokens": 50, "seed": 1, "n": n}
    for chunk in client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    ):
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            assert not finishes[choice.index], "nothing comes after the end"
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or ""
        usage = chunk.usage or usage
    assert texts == said(whole)
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage


def test_stop_strings_end_the_answer_and_are_not_said(client: OpenAI) -> None:
    whole = said(ask(client, max_tokens=60))[0]
    assert whole is not None
    stop = whole[20:23]
    cut = whole[: whole.index(stop)].rstrip(" ")
    answer = ask(client, max_tokens=60, stop=stop)
    assert said(answer) == [cut]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens < 60
    assert said(ask(client, max_tokens=60, stop=["never", stop])) == [cut]
    streamed = client.chat.completions.create(
        model=NAME, messages=ASKED, max_tokens=60, seed=1, stop=stop, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
    assert "".join(pieces) == cut


def test_logprobs_of_a_chat(client: OpenAI) -> None:
    plain = ask(client, max_tokens=30)
    answer = ask(client, max_tokens=30, logprobs=True, top_logprobs=3, temperature=0.5)
    again = ask(client, max_tokens=30, logprobs=True, temperature=0.5)
    (choice,), (bare,) = answer.choices, again.choices
    assert plain.choices[0].logprobs is None
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert bare.logprobs is not None
    assert bare.logprobs.content is not None
    tokens = choice.logprobs.content
    assert answer.usage is not None
    ended = choice.finish_reason == "stop"
    assert len(tokens) == answer.usage.completion_tokens - ended
    for token, other in zip(tokens, bare.logprobs.content, strict=True):
        top = [one.logprob for one in token.top_logprobs]
        assert len(top) == 3
        assert top == sorted(top, reverse=True)
        assert token.logprob <= top[0]
        assert sum(map(math.exp, top)) < 1
        assert (token.token, token.logprob, other.top_logprobs) == (other.token, other.logprob, [])
        assert token.bytes is None or bytes(token.bytes).decode() == token.token
    if all(token.bytes for token in tokens):
        assert "".join(token.token for token in tokens).strip() == choice.message.content


def test_logprobs_of_a_stream_come_with_their_text(client: OpenAI) -> None:
    options: Any = {"model": NAME, "messages": ASKED, "max_tokens": 40, "seed": 4}
    whole = client.chat.completions.create(**options, logprobs=True, top_logprobs=2)
    stream = client.chat.completions.create(**options, logprobs=True, top_logprobs=2, stream=True)
    tokens = [
        token
        for chunk in stream
        for choice in chunk.choices
        if choice.logprobs is not None
        for token in choice.logprobs.content or []
    ]
    assert whole.choices[0].logprobs is not None
    assert tokens == whole.choices[0].logprobs.content


def test_no_token_of_a_stop_string_is_told(client: OpenAI) -> None:
    whole = said(ask(client, max_tokens=60))[0]
    assert whole is not None
    answer = ask(client, max_tokens=60, stop=whole[20:24], logprobs=True)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    text = "".join(token.token for token in logprobs.content or [])
    assert len(text.strip()) < 24


def test_completions_of_strings_lists_and_ids(client: OpenAI, tokenizer: Tokenizer) -> None:
    options: Any = {"model": NAME, "max_tokens": 10, "seed": 2}
    one = client.completions.create(prompt="the llama walks", **options)
    assert one.object == "text_completion"
    assert one.choices[0].text
    ids = [1, *tokenizer.encode("the llama walks")]
    assert client.completions.create(prompt=ids, **options).choices[0].text == one.choices[0].text
    assert one.usage is not None
    assert one.usage.prompt_tokens == len(ids)
    several = client.completions.create(prompt=["the llama walks", "a mule"], n=2, **options)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == one.choices[0].text
    assert client.completions.create(prompt=[ids, [1, 5]], **options).choices[0].text == (
        one.choices[0].text
    )
    streamed = client.completions.create(prompt="the llama walks", stream=True, **options)
    assert "".join(chunk.choices[0].text for chunk in streamed) == one.choices[0].text
    assert client.completions.create(prompt="", **options).choices[0].text


def test_a_continuation_keeps_its_first_space(client: OpenAI, tokenizer: Tokenizer) -> None:
    texts = [
        client.completions.create(
            model=NAME, prompt="the llama", max_tokens=6, seed=seed, logprobs=0
        ).choices[0]
        for seed in range(40)
    ]
    with_space = [choice for choice in texts if choice.text.startswith(" ")]
    assert with_space
    for choice in with_space:
        assert choice.logprobs is not None
        assert (choice.logprobs.tokens or [""])[0].startswith(" ")


def test_logprobs_of_a_completion(client: OpenAI) -> None:
    answer = client.completions.create(
        model=NAME, prompt="the llama", max_tokens=12, seed=3, logprobs=2
    )
    (choice,) = answer.choices
    told = choice.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.token_logprobs is not None
    assert told.top_logprobs is not None
    assert told.text_offset is not None
    lengths = {len(told.tokens), len(told.token_logprobs), len(told.top_logprobs)}
    assert len(lengths) == 1
    assert told.text_offset[0] == 0
    assert told.text_offset == sorted(told.text_offset)
    assert all(1 <= len(row) <= 2 for row in told.top_logprobs)


def test_an_answer_may_fill_the_context(client: OpenAI) -> None:
    for options in ({"max_tokens": None}, {"max_tokens": 100_000}):
        for seed in range(20):
            answer = ask(client, seed=seed, **options)
            assert answer.usage is not None
            assert answer.usage.total_tokens <= CONTEXT
            if answer.choices[0].finish_reason == "length":
                assert answer.usage.total_tokens == CONTEXT


def test_the_model_is_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "arriero"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4o")
    assert caught.value.code == "model_not_found"


def test_each_mistake_is_an_error_of_its_class(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-4o") as missing:
        ask(client, model="gpt-4o")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="at least one user message") as empty:
        ask(client, messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="context is 256") as long:
        ask(client, messages=[{"role": "user", "content": "llama " * 400}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="temperature 3 is not between"):
        ask(client, temperature=3)
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(client, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.BadRequestError, match=r"did you mean temperature\?"):
        ask(client, extra_body={"temprature": 1})
    with pytest.raises(openai.BadRequestError, match="user"):
        ask(client, messages=[{"role": "assistant", "content": "hi"}])


def test_what_clients_send_beside_is_let_in(client: OpenAI) -> None:
    history = ask(client)
    dialog = [*ASKED, history.choices[0].message.model_dump(), {"role": "user", "content": "go on"}]
    answer = ask(
        client,
        messages=dialog,
        user="me",
        metadata={"a": "b"},
        store=False,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        response_format={"type": "text"},
        tool_choice="none",
        n=None,
    )
    assert answer.choices[0].message.content
    parts = [{"role": "user", "content": [{"type": "text", "text": "the llama"}]}]
    plain = [{"role": "user", "content": "the llama"}]
    assert said(ask(client, messages=parts)) == said(ask(client, messages=plain))
    developer = [{"role": "developer", "content": "Be kind."}, ASKED[1]]
    assert said(ask(client, messages=developer)) == said(ask(client))
