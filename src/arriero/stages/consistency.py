"""Stage `consistency`: does a model honour the first turn's instruction, many turns later?

Table 30 with intervals, on the world's tests or a file of one's own, and where the model looks
while it is asked (Figure 10).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from arriero.data.consistency import read_consistency_tests
from arriero.data.writing import write_rows
from arriero.evaluation.attention_map import binned, strongest_attention
from arriero.evaluation.consistency import (
    Grader,
    Outcome,
    holds_expected,
    share_of,
    spoken_dialog,
    talk_through,
)
from arriero.inference.request import Sampling
from arriero.records import ConsistencyTest, Dialog, Message, UserError
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace, write_json
from arriero.tokenizer.chat import encode_dialog, encode_prompt
from arriero.tokenizer.tokenizer import Tokenizer

PICTURED = "pictured.json"
_MOST_BINS = 40


class ConsistencyConfig(BaseModel):
    """A.3.5: attributes of the first message, asked for 2, 4, 6 and 20 turns later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: tuple[int, ...] = Field(
        default=(1, 2, 4, 6, 10, 20),
        min_length=1,
        description="turns at which the question is asked; the paper: 2, 4, 6, 20",
    )
    max_tests: int = Field(default=0, ge=0, description="most tests; 0 takes all")
    temperature: float = Field(default=0.1, ge=0, description="temperature of the answers; 0.1")
    max_new_tokens: int = Field(default=64, gt=0, description="longest answer in tokens")
    pictured_turns: int = Field(
        default=20, gt=0, description="turns of the dialog in the picture of attention"
    )


def run(
    config: ConsistencyConfig,
    *,
    model: Path,
    tests: Sequence[Path],
    workspace: Workspace,
    grade: Grader = holds_expected,
    pictured: Path | None = None,
) -> None:
    """Write every answer into `outcomes.jsonl`, shares into results.json, and a map of attention.

    Args:
        model: folder of a chat model.
        tests: files of tests.
        grade: says whether an answer honours its test.
        pictured: the file of the dialog whose attention is shown, from another model's folder;
            left out, the model speaks one itself.

    Raises:
        UserError: no question leaves room for an answer.
    """
    chat = ChatModel.load(model, workspace.device)
    read = list(read_consistency_tests(tests))[: config.max_tests or None]
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    outcomes = talk_through(
        chat.model,
        chat.tokenizer,
        read,
        config.turns,
        sampling,
        seed=workspace.seed,
        grade=grade,
    )
    if not outcomes:
        raise UserError(
            f"none of {len(read)} questions leaves room for {config.max_new_tokens} tokens in a "
            f"context of {chat.model.config.context}"
        )
    rows = ({"id": read[one.test].id, **asdict(one)} for one in outcomes)
    write_rows(workspace.folder / "outcomes.jsonl", rows)
    if pictured is None:
        test = _pictured_test(read, config)
        spoken = spoken_dialog(
            chat.model, chat.tokenizer, test, config.pictured_turns, sampling, seed=workspace.seed
        )
        row = {"messages": [asdict(message) for message in spoken], "instruction": test.instruction}
        write_json(workspace.folder / PICTURED, row)
        pictured = workspace.folder / PICTURED
    shares = shares_by_turn(outcomes)
    for turn, share in shares.items():
        workspace.say(f"turn {turn}: {share['honoured']} of {share['count']} honoured")
    workspace.write_results(
        {
            "tests": len(read),
            "shares": shares,
            "tokens": {
                str(t): _mean(o.tokens for o in outcomes if o.turn == t) for t in config.turns
            },
            "attention": attention_to_instruction(chat, pictured),
        }
    )


def shares_by_turn(outcomes: Iterable[Outcome]) -> dict[str, dict[str, Any]]:
    """Share honoured by turn with its interval; a turn that nobody reached is left out."""
    by_turn: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_turn.setdefault(outcome.turn, []).append(outcome)
    found: dict[str, dict[str, Any]] = {}
    for turn in sorted(by_turn):
        share = share_of(by_turn[turn])
        if share is not None:
            low, high = share.interval
            found[str(turn)] = {
                "honoured": share.honoured,
                "count": share.count,
                "share": share.value,
                "low": low,
                "high": high,
            }
    return found


def attention_to_instruction(chat: ChatModel, pictured: Path) -> dict[str, Any]:
    """The strongest attention in a dialog, in bins.

    `to_instruction` is the largest weight that each answer's tokens, the one before it included,
    give the instruction's.
    """
    row: Mapping[str, Any] = json.loads(pictured.read_text(encoding="utf-8"))
    messages = [Message(each["role"], each["content"]) for each in row["messages"]]
    ids = encode_dialog(chat.tokenizer, Dialog(tuple(messages))).ids
    weights = strongest_attention(chat.model, ids)
    begin, end = _instruction_span(chat.tokenizer, messages, row["instruction"])
    size = -(-len(ids) // _MOST_BINS)
    return {
        "tokens": len(ids),
        "bin": size,
        "instruction": [begin, end],
        "weights": [[round(value, 4) for value in line] for line in binned(weights, size).tolist()],
        "to_instruction": [
            round(float(weights[first - 1 : last, begin:end].max()), 4)
            for first, last in _answer_spans(chat.tokenizer, messages)
        ],
    }


def _answer_spans(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Where each answer begins, and where it ends."""
    ends = [
        len(encode_dialog(tokenizer, Dialog(tuple(messages[: place + 1]))).ids)
        for place in range(len(messages))
    ]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _instruction_span(
    tokenizer: Tokenizer, messages: Sequence[Message], instruction: str
) -> tuple[int, int]:
    """Where the instruction's tokens stand: what the first turn has with it and not without it."""
    said = messages[0].content
    with_it = encode_prompt(tokenizer, [messages[0]])
    without = encode_prompt(tokenizer, [Message("user", said.removeprefix(instruction).strip())])
    after = 0
    while after < len(without) and with_it[-1 - after] == without[-1 - after]:
        after += 1
    before = 0
    while before < len(without) - after and with_it[before] == without[before]:
        before += 1
    return before, len(with_it) - after


def _pictured_test(tests: Sequence[ConsistencyTest], config: ConsistencyConfig) -> ConsistencyTest:
    """The first test that has turns enough, or else the one with most."""
    wanted = config.pictured_turns - 1
    return next(
        (test for test in tests if len(test.turns) >= wanted),
        max(tests, key=lambda test: len(test.turns)),
    )


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
