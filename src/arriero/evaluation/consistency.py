"""Whether a model still honours the instruction of the first turn, turns later (Table 30).

The model talks through the ordinary turns of a test and reads its own answers. At each number of
turns that is asked about, the question takes the place of that turn in a branch of its own, which
the dialog does not remember: no answer to it can be copied from an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from arriero.equations.intervals import wilson_interval
from arriero.inference.engine import Engine
from arriero.inference.request import Drawn, Sampling
from arriero.model.heads import LanguageModel
from arriero.records import ConsistencyTest, Message, UserError
from arriero.tokenizer.chat import encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer

_TESTS_AT_ONCE = 32
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")

Grader = Callable[[ConsistencyTest, str], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer to a test's question.

    Attributes:
        test: the test's number in its list.
        turn: which user message the question was, from 1.
        tokens: of the prompt.
    """

    test: int
    turn: int
    tokens: int
    answer: str
    is_honoured: bool


@dataclass(frozen=True, slots=True)
class Share:
    """The share of answers that honour their instruction, with Wilson's 95% interval."""

    honoured: int
    count: int

    @property
    def value(self) -> float:
        """honoured / count."""
        return self.honoured / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end."""
        return wilson_interval(self.honoured, self.count)


def holds_expected(test: ConsistencyTest, answer: str) -> bool:
    """Whether an answer holds every expected word, whole and whatever its case, and has as many
    sentences as the test wants; a sentence that asks states nothing."""
    sentences = [part for part in _ENDS.split(answer.strip()) if part]
    if test.sentences and len(sentences) != test.sentences:
        return False
    stated = " ".join(part for part in sentences if not part.endswith("?"))
    return all(
        re.search(rf"(?<!\w){re.escape(words)}(?!\w)", stated, re.IGNORECASE)
        for words in test.expected
    )


@torch.inference_mode()
def talk_through(
    model: LanguageModel,
    tokenizer: Tokenizer,
    tests: Sequence[ConsistencyTest],
    turns: Sequence[int],
    sampling: Sampling,
    *,
    seed: int,
    grade: Grader = holds_expected,
) -> list[Outcome]:
    """Ask every test's question at each of `turns`, as far as its turns and the context go.

    A dialog that leaves no room for an answer ends there: its later questions have no outcome.

    Args:
        turns: which user message the question is, from 1.
        sampling: of all answers.
        grade: says whether an answer honours its test.
    """
    outcomes: list[Outcome] = []
    for begin in range(0, len(tests), _TESTS_AT_ONCE):
        group = range(begin, min(begin + _TESTS_AT_ONCE, len(tests)))
        # One engine for all turns of a group: what a row holds is not computed again.
        engine = Engine(model, ends=tokenizer.special.ends, max_rows=2 * len(group))
        talk = _Talk(model, tokenizer, engine, sampling, seed)
        outcomes += _outcomes(talk, tests, group, frozenset(turns), grade)
    return outcomes


@torch.inference_mode()
def spoken_dialog(
    model: LanguageModel,
    tokenizer: Tokenizer,
    test: ConsistencyTest,
    num_turns: int,
    sampling: Sampling,
    *,
    seed: int,
) -> tuple[Message, ...]:
    """A test's dialog with the model's own answers, up to `num_turns` turns, its question last.

    The question is answered as where the instruction stands beside it: with an answer that honours
    the instruction, if the model can. The dialog is shorter where the test has fewer turns or the
    context leaves no room.
    """
    engine = Engine(model, ends=tokenizer.special.ends, max_rows=1)
    talk = _Talk(model, tokenizer, engine, sampling, seed)
    history: tuple[Message, ...] = ()
    for turn, user in enumerate(test.turns[: num_turns - 1], 1):
        said = f"{test.instruction} {user}" if turn == 1 else user
        ids = talk.encoded(history, said)
        if ids is None:
            break
        (answer,) = talk.answers([ids], [turn])
        longer = (*history, *_exchange(said, answer))
        if talk.encoded(longer, test.question) is None:
            break
        history = longer
    beside = f"{test.instruction} {test.question}"
    ids = talk.encoded((), beside)
    if ids is None:
        raise UserError(f"test {test.id} leaves no room for an answer; raise model.context")
    (answer,) = talk.answers([ids], [num_turns])
    return (*history, *_exchange(test.question if history else beside, answer))


def _exchange(user: str, answer: str) -> tuple[Message, Message]:
    return Message("user", user), Message("assistant", answer)


@dataclass(frozen=True)
class _Talk:
    model: LanguageModel
    tokenizer: Tokenizer
    engine: Engine
    sampling: Sampling
    seed: int

    def encoded(self, history: Sequence[Message], user: str) -> list[int] | None:
        """Ids of the next prompt; None where it leaves no room for an answer."""
        ids = encode_prompt(self.tokenizer, (*history, Message("user", user)))
        room = self.model.config.context - len(ids)
        return ids if room >= self.sampling.max_new_tokens else None

    def answers(self, prompts: Sequence[list[int]], keys: Sequence[int]) -> list[str]:
        """One answer to each prompt, random by the seed and its key."""
        tickets = [
            self.engine.submit(prompt, self.sampling, seed=self.seed, key=key)
            for prompt, key in zip(prompts, keys, strict=True)
        ]
        drawn: dict[int, list[Drawn]] = {ticket: [] for ticket in tickets}
        while not self.engine.is_idle:
            for one in self.engine.step():
                drawn[one.ticket].append(one)
        return [
            self.tokenizer.decode([one.token for one in drawn[ticket]]).strip()
            for ticket in tickets
        ]


def _outcomes(
    talk: _Talk,
    tests: Sequence[ConsistencyTest],
    group: Iterable[int],
    turns: frozenset[int],
    grade: Grader,
) -> list[Outcome]:
    histories: dict[int, tuple[Message, ...]] = dict.fromkeys(group, ())
    outcomes: list[Outcome] = []
    for turn in range(1, max(turns) + 1):
        asked: list[tuple[int, str, bool, list[int]]] = []
        for number, history in histories.items():
            test = tests[number]
            users = [(test.question, True)] if turn in turns else []
            if turn <= len(test.turns):
                users.append((test.turns[turn - 1], False))
            for user, is_question in users:
                said = f"{test.instruction} {user}" if turn == 1 else user
                ids = talk.encoded(history, said)
                if ids is not None:
                    asked.append((number, said, is_question, ids))
        answers = talk.answers(
            [ids for *_, ids in asked],
            [2 * (1000 * number + turn) + is_question for number, _, is_question, _ in asked],
        )
        goes_on: dict[int, tuple[Message, ...]] = {}
        for (number, said, is_question, ids), answer in zip(asked, answers, strict=True):
            if is_question:
                honoured = grade(tests[number], answer)
                outcomes.append(Outcome(number, turn, len(ids), answer, honoured))
            else:
                goes_on[number] = (*histories[number], *_exchange(said, answer))
        histories = goes_on
    return sorted(outcomes, key=lambda one: (one.test, one.turn))


def share_of(outcomes: Iterable[Outcome]) -> Share | None:
    """The share of outcomes that honour their instruction; None of none."""
    found = [outcome.is_honoured for outcome in outcomes]
    return Share(sum(found), len(found)) if found else None
