"""Table 30's counting: who is asked what, when, and which answers count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arriero.evaluation.consistency import (
    Outcome,
    Share,
    holds_expected,
    share_of,
    spoken_dialog,
    talk_through,
)
from arriero.inference.generate import generate
from arriero.inference.request import Sampling
from arriero.model.heads import LanguageModel
from arriero.model.weights import load_language_model
from arriero.records import ConsistencyTest, Message
from arriero.tokenizer import Tokenizer, encode_prompt, load_tokenizer

from .conftest import WORDS

SAMPLING = Sampling(temperature=0.0, max_new_tokens=6)


def case(number: int = 0, turns: int = 5, expected: str = "salt") -> ConsistencyTest:
    return ConsistencyTest(
        id=f"t{number}",
        instruction=f"{WORDS[number]} {WORDS[number + 1]}.",
        turns=tuple(f"{WORDS[(number + turn) % 10]} {turn}?" for turn in range(turns)),
        question=f"{WORDS[number]} what?",
        expected=(expected,),
    )


@pytest.fixture(scope="module")
def chat(chat_folder: Path) -> tuple[LanguageModel, Tokenizer]:
    return load_language_model(chat_folder).eval(), load_tokenizer(chat_folder)


def greedy(chat: tuple[LanguageModel, Tokenizer], messages: list[Message]) -> str:
    """One answer, computed anew from the whole prompt."""
    model, tokenizer = chat
    prompt = encode_prompt(tokenizer, messages)
    ((one,),) = generate(model, [prompt], SAMPLING, seed=0, ends=tokenizer.special.ends)
    return tokenizer.decode(one.tokens).strip()


def slow(
    chat: tuple[LanguageModel, Tokenizer], test: ConsistencyTest, turns: set[int]
) -> dict[int, str]:
    """The answers to a test's question, talking one turn after the other."""
    history: list[Message] = []
    answers: dict[int, str] = {}
    for turn in range(1, len(test.turns) + 2):
        lead = f"{test.instruction} " if turn == 1 else ""
        if turn in turns:
            answers[turn] = greedy(chat, [*history, Message("user", lead + test.question)])
        if turn <= len(test.turns):
            history.append(Message("user", lead + test.turns[turn - 1]))
            history.append(Message("assistant", greedy(chat, history)))
    return answers


def test_the_same_answers_as_one_turn_after_the_other(
    chat: tuple[LanguageModel, Tokenizer],
) -> None:
    tests = [case(number, turns=3 + number % 4) for number in range(6)]
    turns = (1, 2, 4, 7)
    found = talk_through(*chat, tests, turns, SAMPLING, seed=3)
    expected = {
        (number, turn): answer
        for number, test in enumerate(tests)
        for turn, answer in slow(chat, test, set(turns)).items()
    }
    assert {(one.test, one.turn): one.answer for one in found} == expected
    assert [(one.test, one.turn) for one in found] == sorted(expected)


def test_a_test_is_asked_as_far_as_its_turns_go(chat: tuple[LanguageModel, Tokenizer]) -> None:
    found = talk_through(
        *chat, [case(0, turns=2), case(1, turns=5)], (2, 3, 4, 6), SAMPLING, seed=0
    )
    assert {(one.test, one.turn) for one in found} == {
        (0, 2), (0, 3), (1, 2), (1, 3), (1, 4), (1, 6),
    }  # fmt: skip


def test_a_dialog_that_fills_the_context_ends_there(
    chat: tuple[LanguageModel, Tokenizer],
) -> None:
    model, tokenizer = chat
    found = talk_through(
        model, tokenizer, [case(0, turns=200)], tuple(range(1, 202)), SAMPLING, seed=0
    )
    lengths = [one.tokens for one in found]
    assert lengths == sorted(lengths)
    assert 900 < lengths[-1] <= chat[0].config.context - SAMPLING.max_new_tokens
    assert [one.turn for one in found] == list(range(1, len(found) + 1))
    assert len(found) < 200


def test_samples_follow_from_the_seed_and_not_from_the_company(
    chat: tuple[LanguageModel, Tokenizer],
) -> None:
    warm = Sampling(temperature=1.0, max_new_tokens=6)
    tests = [case(number, turns=3) for number in range(4)]
    both = talk_through(*chat, tests, (2, 4), warm, seed=5)
    alone = talk_through(*chat, tests[:1], (2, 4), warm, seed=5)
    assert [one for one in both if one.test == 0] == alone
    assert talk_through(*chat, tests, (2, 4), warm, seed=6) != both


def test_the_grader_decides(chat: tuple[LanguageModel, Tokenizer]) -> None:
    found = talk_through(
        *chat, [case(), case(1)], (2,), SAMPLING, seed=0, grade=lambda test, _: test.id == "t1"
    )
    assert [one.is_honoured for one in found] == [False, True]


def test_a_spoken_dialog_ends_with_the_question_and_an_answer_beside_the_instruction(
    chat: tuple[LanguageModel, Tokenizer],
) -> None:
    test = case(0, turns=5)
    spoken = spoken_dialog(*chat, test, 4, SAMPLING, seed=0)
    assert [m.content for m in spoken if m.role == "user"] == [
        f"{test.instruction} {test.turns[0]}", *test.turns[1:3], test.question,
    ]  # fmt: skip
    assert spoken[1].content == greedy(chat, list(spoken[:1]))
    beside = Message("user", f"{test.instruction} {test.question}")
    assert spoken[-1] == Message("assistant", greedy(chat, [beside]))
    alone = spoken_dialog(*chat, test, 1, SAMPLING, seed=0)
    assert alone == (beside, spoken[-1])


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        ("I like salt.", True),
        ("SALT!", True),
        ("I like salty things.", False),
        ("Do you like salt?", False),
        ("Do you like wool? I like salt.", True),
        ("", False),
        ("basalt", False),
    ],
)
def test_expected_words_are_whole_words_of_a_statement(answer: str, holds: bool) -> None:
    assert holds_expected(case(), answer) is holds


def test_all_expected_words_are_wanted_and_the_number_of_sentences() -> None:
    test = ConsistencyTest("t", "Be.", ("a",), "b?", expected=("salt", "wool road"), sentences=1)
    assert holds_expected(test, "salt and wool road.")
    assert not holds_expected(test, "salt and wool.")
    assert not holds_expected(test, "salt. wool road.")
    only = ConsistencyTest("t", "Be.", ("a",), "b?", sentences=2)
    assert holds_expected(only, "One. Two.")
    assert not holds_expected(only, "One.")


def test_a_test_that_expects_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        ConsistencyTest("t", "Be.", ("a",), "b?")
    with pytest.raises(ValueError, match="hold words"):
        ConsistencyTest("t", " ", ("a",), "b?", ("x",))


def test_shares_have_wilsons_interval() -> None:
    outcomes = [Outcome(n, 2, 10, "", n < 8) for n in range(10)]
    share = share_of(outcomes)
    assert share == Share(8, 10)
    assert share is not None
    assert share.value == 0.8
    assert share.interval == pytest.approx((0.490, 0.943), abs=5e-4)
    assert share_of([]) is None


def test_no_gradient_is_left(chat: tuple[LanguageModel, Tokenizer]) -> None:
    talk_through(*chat, [case()], (1,), SAMPLING, seed=0)
    assert torch.is_grad_enabled()
