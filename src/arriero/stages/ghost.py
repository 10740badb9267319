"""Stage `ghost`: Ghost Attention's dialogs (section 3.3), made by the newest chat model.

The model is asked for hobbies, languages and public figures; instructions are combined from what it
names, and it answers the last turn of every dialog with the instruction on every turn. Nothing is
trained here: `dialogs.jsonl` joins a fine-tuning mix. Answers are kept part by part, so that a
stopped stage goes on where it was.

The dialogs' earlier answers stay as they are: section 3.3 speaks of a mismatch between them and the
sample, which the masked loss mends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from arriero.alignment.ghost import (
    Instruction,
    Wording,
    combined,
    ghost_dialog,
    listed,
    on_every_turn,
    plain_dialog,
)
from arriero.data.prompts import read_prompts
from arriero.data.writing import write_dialogs, write_rows
from arriero.inference.generate import Sampling
from arriero.records import Prompt, Stopped, UserError
from arriero.records.dialog import Message
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace, write_json
from arriero.tokenizer.chat import encode_prompt
from arriero.training.meters import TimeLeft
from arriero.training.stopping import StopRequest, stop_requests

_PROMPTS_A_PART = 256
_ROOM_IN_LISTS = 16
_EXAMPLES = 6


class KindConfig(BaseModel):
    """One kind of constraint: how the model is asked for values, and how they are said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: str = Field(description="question that the model's list comes from: Name a hobby.")
    say: str = Field(description="the instruction, {} for the value: You enjoy {}.")
    short: str = Field(description="the shortened instruction: Hobby: {}.")

    @field_validator("say", "short")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("a wording holds {} once, where the value goes")
        return value


_KINDS = {
    "hobby": KindConfig(ask="Name a hobby.", say="You enjoy {}.", short="Hobby: {}."),
    "language": KindConfig(ask="Name a language.", say="You speak {}.", short="Language: {}."),
    "figure": KindConfig(ask="Name a public figure.", say="Act as {}.", short="Figure: {}."),
}


class GhostConfig(BaseModel):
    """Section 3.3 and A.3.5: lists by the model itself, combined at random, half of them short."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")], KindConfig] = Field(
        default=_KINDS,
        min_length=1,
        description="tables ghost.kinds.NAME with ask, say and short; hobbies, languages, figures",
    )
    list_samples: int = Field(default=256, gt=0, description="answers to each question for a list")
    list_temperature: float = Field(default=1.0, gt=0, description="temperature of those answers")
    least_named: int = Field(default=4, gt=0, description="times that a value has to be named")
    short_share: float = Field(default=0.5, ge=0, le=1, description="instructions shortened; 0.5")
    max_prompts: int = Field(default=0, ge=0, description="most dialogs; 0 takes all")
    temperature: float = Field(default=0.5, ge=0, description="temperature of the answers")
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    max_rows: int = Field(default=256, gt=0, description="sequences sampled at once")


@dataclass(frozen=True, slots=True)
class _Draw:
    """A prompt without instruction, and the instruction that it got."""

    prompt: Prompt
    instruction: Instruction

    @property
    def sampled_from(self) -> Prompt:
        return Prompt(self.prompt.id, on_every_turn(self.prompt.messages, self.instruction.text))


def run(
    config: GhostConfig, *, policy: Path, prompts: Sequence[Path], workspace: Workspace
) -> None:
    """Write `dialogs.jsonl`, and `control.jsonl` with the same answers as they were sampled.

    Args:
        policy: folder of the newest chat model.
        prompts: dialogs of any format; their last answers, where they have one, are not read.

    Raises:
        UserError: the model names no value of any kind, or no dialog leaves room for an answer.
        Stopped: a rank was asked to stop; the parts that are done stay.
    """
    chat = ChatModel.load(policy, workspace.device)
    given = list(read_prompts(prompts))
    order = np.random.default_rng(workspace.seed).permutation(len(given))
    chosen = [given[place] for place in order[: config.max_prompts or None]]
    with stop_requests() as stop:
        lists = _lists(config, chat, workspace, stop)
        draws = _drawn(config, lists, chosen, workspace.seed)
        fitting = [draw for draw in draws if _fits(chat, draw, config.max_new_tokens)]
        if not fitting:
            raise UserError(
                f"none of {len(draws)} dialogs with an instruction on every turn leaves room for "
                f"{config.max_new_tokens} tokens; raise model.context or lower max_new_tokens"
            )
        if dropped := len(draws) - len(fitting):
            workspace.say(f"{dropped} of {len(draws)} dialogs leave no room to answer: left out")
        rows = _answered(config, chat, fitting, workspace, stop)
        if signal := workspace.ranks.most(stop.signal or 0):
            raise Stopped(signal)
    if workspace.ranks.is_first:
        _write(config, lists, len(draws) - len(fitting), fitting, rows, workspace)


def _lists(
    config: GhostConfig, chat: ChatModel, workspace: Workspace, stop: StopRequest
) -> dict[str, list[str]]:
    """The values of each kind that the model named, in a file of its own once they are there.

    A kind of which it names none is left out, with a word: a version that has forgotten one
    question does not end a run.
    """
    path = workspace.folder / "lists.json"
    if workspace.ranks.agreed(path.exists()):
        return json.loads(path.read_text(encoding="utf-8"))
    asked = [
        Prompt(kind, (Message("user", each.ask),)) for kind, each in sorted(config.kinds.items())
    ]
    answers = chat.answers(
        asked,
        Sampling(
            temperature=config.list_temperature,
            max_new_tokens=min(_ROOM_IN_LISTS, config.max_new_tokens),
        ),
        seed=workspace.seed + 1,
        num_samples=config.list_samples,
        max_rows=config.max_rows,
        ranks=workspace.ranks,
        stop=stop,
    )
    lists: dict[str, list[str]] = {}
    for prompt, samples in zip(asked, answers, strict=True):
        ended = [answer.text for answer in samples if answer.completion.ended]
        found = listed(ended, least=config.least_named)
        if not found:
            workspace.say(
                f"{prompt.id}: left out, the model names nothing when asked "
                f"{prompt.messages[0].content!r} ({config.list_samples} times)"
            )
            continue
        lists[prompt.id] = found
        workspace.say(f"{prompt.id}: {len(found)} values, {found[0]} first")
    if not lists:
        raise UserError(
            f"the model names no {' and no '.join(sorted(config.kinds))} "
            f"({config.list_samples} answers to each question); change ghost.kinds.NAME.ask, raise "
            "ghost.list_samples, lower ghost.least_named, or leave Ghost Attention out with "
            "versions.ghost_from"
        )
    workspace.ranks.wait()
    if workspace.ranks.is_first:
        write_json(path, lists)
    workspace.ranks.wait()
    return lists


def _drawn(
    config: GhostConfig, lists: Mapping[str, Sequence[str]], prompts: Sequence[Prompt], seed: int
) -> list[_Draw]:
    wordings = {kind: Wording(config.kinds[kind].say, config.kinds[kind].short) for kind in lists}
    rng = random.Random(f"ghost/{seed}")
    return [_Draw(prompt, combined(lists, wordings, config.short_share, rng)) for prompt in prompts]


def _fits(chat: ChatModel, draw: _Draw, num_new: int) -> bool:
    length = len(encode_prompt(chat.tokenizer, draw.sampled_from.messages))
    return length + num_new <= chat.model.config.context


def _answered(
    config: GhostConfig,
    chat: ChatModel,
    draws: Sequence[_Draw],
    workspace: Workspace,
    stop: StopRequest,
) -> list[dict[str, Any]]:
    """One answer to each dialog; a part that is there already is read."""
    begins = range(0, len(draws), _PROMPTS_A_PART)
    paths = [
        workspace.folder / "samples" / f"part-{begin // _PROMPTS_A_PART:05d}.jsonl"
        for begin in begins
    ]
    num_there = sum(path.exists() for path in paths)
    left = TimeLeft(len(draws), min(len(draws), num_there * _PROMPTS_A_PART))
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    rows: list[dict[str, Any]] = []
    for begin, path in zip(begins, paths, strict=True):
        if not workspace.ranks.agreed(path.exists()):
            members = draws[begin : begin + _PROMPTS_A_PART]
            answers = chat.answers(
                [draw.sampled_from for draw in members],
                sampling,
                seed=workspace.seed,
                max_rows=config.max_rows,
                first_key=begin,
                ranks=workspace.ranks,
                stop=stop,
            )
            if workspace.ranks.is_first:
                write_rows(
                    path,
                    (
                        {
                            "prompt_id": draw.prompt.id,
                            "answer": one.text,
                            "ended": one.completion.ended,
                        }
                        for draw, (one,) in zip(members, answers, strict=True)
                    ),
                )
            workspace.ranks.wait()
            done = begin + len(members)
            workspace.say(f"{done}/{len(draws)} dialogs answered  {left.after(done)}")
        rows += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return rows


def _write(
    config: GhostConfig,
    lists: Mapping[str, Sequence[str]],
    num_dropped: int,
    draws: Sequence[_Draw],
    rows: Sequence[Mapping[str, Any]],
    workspace: Workspace,
) -> None:
    """Both files of dialogs and results.json; an empty answer teaches nothing and is left out."""
    kept = [(draw, row) for draw, row in zip(draws, rows, strict=True) if row["answer"]]
    if not kept:
        raise UserError(f"Ghost Attention: all {len(rows)} sampled answers are empty")
    for name, make in (("dialogs", ghost_dialog), ("control", plain_dialog)):
        write_dialogs(
            workspace.folder / f"{name}.jsonl",
            (
                make(
                    draw.prompt.messages,
                    draw.instruction.text,
                    row["answer"],
                    is_cut=not row["ended"],
                )
                for draw, row in kept
            ),
        )
    turns = [sum(m.role == "user" for m in draw.prompt.messages) for draw, _ in kept]
    workspace.write_results(
        {
            "dialogs": len(kept),
            "no_room": num_dropped,
            "empty_answers": len(rows) - len(kept),
            "ended": sum(row["ended"] for _, row in kept) / len(kept),
            "turns": {"mean": sum(turns) / len(turns), "most": max(turns)},
            "short_share": config.short_share,
            "kinds_combined": _counts(len(draw.instruction.values) for draw, _ in kept),
            "lists": dict(lists),
            "kinds_without_values": sorted(set(config.kinds) - set(lists)),
            "examples": [
                {
                    "instruction": draw.instruction.text,
                    "turns": count,
                    "question": draw.prompt.messages[-1].content,
                    "answer": row["answer"],
                }
                for (draw, row), count in list(zip(kept, turns, strict=True))[:_EXAMPLES]
            ],
        }
    )


def _counts(numbers: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for number in numbers:
        found[str(number)] = found.get(str(number), 0) + 1
    return dict(sorted(found.items()))
