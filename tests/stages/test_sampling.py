"""Answers in text and ids: token in, token out, and the same in parts as at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arriero.inference.generate import Sampling
from arriero.records import Message, Prompt, UserError
from arriero.stages.sampling import ChatModel
from arriero.tokenizer.chat import encode_prompt

from .conftest import WORDS

PROMPTS = [Prompt(str(n), (Message("user", " ".join(WORDS[: n + 1])),)) for n in range(6)]


@pytest.fixture
def chat(chat_folder: Path) -> ChatModel:
    return ChatModel.load(chat_folder, torch.device("cpu"))


def test_ids_are_the_sampled_ones(chat: ChatModel) -> None:
    """Random weights give ids that do not survive decoding and encoding; they must not try."""
    answers = chat.answers(PROMPTS, Sampling(max_new_tokens=12), seed=1, num_samples=2)
    changed = 0
    for prompt, samples in zip(PROMPTS, answers, strict=True):
        assert len(samples) == 2
        for answer in samples:
            assert answer.prompt_ids == encode_prompt(chat.tokenizer, prompt.messages)
            assert answer.ids == answer.prompt_ids + answer.completion.tokens
            assert answer.text == chat.tokenizer.decode(answer.completion.tokens).strip()
            changed += chat.tokenizer.encode(answer.text) != answer.completion.tokens
    assert changed


def test_a_list_in_parts_is_the_list_at_once(chat: ChatModel) -> None:
    sampling = Sampling(max_new_tokens=8)
    whole = chat.answers(PROMPTS, sampling, seed=4)
    parts = [
        *chat.answers(PROMPTS[:4], sampling, seed=4),
        *chat.answers(PROMPTS[4:], sampling, seed=4, first_key=4),
    ]
    assert [a[0].text for a in parts] == [a[0].text for a in whole]
    # Without its own numbers the second part would draw what the first has drawn.
    wrong = chat.answers(PROMPTS[4:], sampling, seed=4)
    assert [a[0].text for a in wrong] != [a[0].text for a in whole[4:]]


def test_prompts_that_leave_no_room_are_left_out(chat: ChatModel) -> None:
    length = len(encode_prompt(chat.tokenizer, PROMPTS[2].messages))
    room = chat.model.config.context - length
    assert chat.fitting(PROMPTS, room) == PROMPTS[:3]
    assert chat.fitting(PROMPTS, room + 1) == PROMPTS[:2]
    with pytest.raises(UserError, match=r"none of 6 prompts fits into 1 tokens.*max_new_tokens"):
        chat.fitting(PROMPTS, 63)
