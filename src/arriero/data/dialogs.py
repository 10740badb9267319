"""Reads demonstrations: dialogs that end with an answer, from every instruction format.

How a format becomes messages:
- alpaca and self-instruct: the input follows the instruction after an empty line; every instance is
  a dialog of its own.
- a table's row with a rationale is answered by "RATIONALE The answer is ANSWER." (reasoning first,
  as in the paper's chain-of-thought prompts), without one by the answer alone.
- a tree gives its best-ranked path.
Dialogs that cannot be learned from (no answer, an empty one) are skipped and counted; a foreign
dialog in wrong order is an error, because it shows that the file is not what it seems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arriero.data import files, oasst
from arriero.data.formats import (
    ANSWER_KEYS,
    QUESTION_KEYS,
    TEXT_KEYS,
    first_key,
    holds_preferences,
    recognize,
    unfit,
)
from arriero.data.rows import Bad, Row, Skip, convert, read_rows, require
from arriero.data.transcripts import is_transcript, split_turns
from arriero.records import Dialog, Message
from arriero.records.dialog import Role, check_turns

# End marks that other systems left in their data; ours are added as ids, never as text.
END_MARKS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "</s>")

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}


def read_dialogs(
    paths: Path | str | Sequence[Path | str], *, skipped: Counter[str] | None = None
) -> Iterator[Dialog]:
    """Yield the demonstrations of files, folders (their files by name) or hub ids.

    Args:
        paths: one or several.
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a path is missing or without dialogs, or a row is wrong (`file:line: ...`).
    """
    return require(files.given_paths(paths), dialogs_of, "dialogs", skipped)


def dialogs_of(file: Path) -> Iterator[Dialog | Bad | Skip]:
    """The dialogs of one file, with what is wrong or of no use in their places."""
    return convert(read_rows(file), to_dialogs)


def to_dialogs(row: Row) -> Iterator[Dialog | Skip]:
    """Yield the demonstrations of one row.

    Raises:
        ValueError: the row is no dialog, or one in wrong order.
    """
    value = row.value
    found = recognize(value)
    if found in (None, "prompt", "text") or holds_preferences(found, value):
        raise ValueError(unfit(found, value, "dialogs"))
    if found == "oasst":
        dropped: Counter[str] = Counter()
        path = oasst.best_path(oasst.root_of(value), dropped)
        yield from (Skip(reason, num) for reason, num in dropped.items())
        yield Dialog(tuple(path), row.source) if path else Skip("no answer in the tree")
        return
    for messages in _conversations(row):
        if reason := _flaw(messages, is_log=found == "hh"):
            yield Skip(reason)
        else:
            yield Dialog(
                tuple(messages),
                row.source,
                is_cut=_is_tagged(value, "is_cut"),
                last_answer_only=_is_tagged(value, "last_answer_only"),
            )


def _is_tagged(value: Any, tag: str) -> bool:
    return isinstance(value, dict) and value.get(tag) is True


def to_messages(turns: Any) -> list[Message]:
    """Messages from a list of role and content, or of from and value.

    Raises:
        ValueError: another shape, an unknown role, or content that is no string.
    """
    if not isinstance(turns, list) or not turns:
        raise ValueError("a dialog is a list of messages; mend or remove the row")
    return [_to_message(turn, number) for number, turn in enumerate(turns, 1)]


def to_prompt(value: Any, system: Any = None) -> list[Message]:
    """The messages of a prompt that is a string, a transcript or a list of messages.

    A transcript may end with an open `Assistant:`.
    """
    if not isinstance(value, str):
        return to_messages(value)
    if not is_transcript(value):
        return plain_prompt(value, system)
    messages = split_turns(value)
    if messages[-1] == Message("assistant", ""):
        messages.pop()
    return _system_turn(system) + messages


def plain_prompt(text: str, system: Any = None) -> list[Message]:
    """The messages of a prompt whose words are the user's, whatever they look like."""
    return [*_system_turn(system), Message("user", text)]


def _system_turn(system: Any) -> list[Message]:
    return [Message("system", system)] if isinstance(system, str) and system.strip() else []


def clean_answer(text: Any, key: str) -> str:
    """An answer without the end marks of other systems.

    Raises:
        ValueError: it is no string.
    """
    if not isinstance(text, str):
        raise ValueError(f"{key!r} should be a string; mend or remove the row")
    for mark in END_MARKS:
        text = text.rstrip().removesuffix(mark) if text.rstrip().endswith(mark) else text
    return text


def _conversations(row: Row) -> Iterator[list[Message]]:
    """The messages of a row, one list a dialog."""
    value = row.value
    system = value.get("system")
    match recognize(value):
        case "messages":
            yield to_messages(value["messages"])
        case "sharegpt":
            messages = to_messages(value["conversations"])
            first = [Message("system", system)] if isinstance(system, str) and system else []
            yield first + messages
        case "self_instruct":
            yield from _instances(value)
        case "alpaca":
            question = _instruction(value["instruction"], value.get("input"))
            answer = clean_answer(value["output"], "output")
            yield [*to_prompt(question, system), Message("assistant", answer)]
        case "completion":
            yield [*_question(value), Message("assistant", _answer(value))]
        case _:
            yield split_turns(value[first_key(value, TEXT_KEYS) or "text"])


def _instances(value: dict[str, Any]) -> Iterator[list[Message]]:
    instances = value["instances"]
    if not isinstance(instances, list) or not all(isinstance(each, dict) for each in instances):
        raise ValueError("'instances' should be a list of input and output; mend the row")
    for instance in instances:
        question = _instruction(value["instruction"], instance.get("input"))
        answer = clean_answer(instance.get("output"), "output")
        yield [Message("user", question), Message("assistant", answer)]


def _instruction(instruction: Any, given: Any) -> str:
    if not isinstance(instruction, str):
        raise ValueError("'instruction' should be a string; mend or remove the row")
    if given is not None and not isinstance(given, str):
        raise ValueError("'input' should be a string; mend or remove the row")
    return f"{instruction.strip()}\n\n{given.strip()}" if given and given.strip() else instruction


def _question(value: dict[str, Any]) -> list[Message]:
    key = first_key(value, QUESTION_KEYS) or "prompt"
    if not isinstance(value[key], (str, list)):
        raise ValueError(f"{key!r} should be a string or messages; mend or remove the row")
    return to_prompt(value[key], value.get("system"))


def _answer(value: dict[str, Any]) -> str:
    key = first_key(value, ANSWER_KEYS) or "completion"
    answer = value[key]
    if isinstance(answer, list):
        messages = to_messages(answer)
        if len(messages) != 1 or messages[0].role != "assistant":
            raise ValueError(f"{key!r} should be one assistant message; mend or remove the row")
        answer = messages[0].content
    answer = clean_answer(answer, key)
    rationale = value.get("rationale")
    if isinstance(rationale, str) and rationale.strip() and answer.strip():
        return f"{rationale.strip()} The answer is {answer.strip()}."
    return answer


def _to_message(turn: Any, number: int) -> Message:
    if not isinstance(turn, dict):
        raise ValueError(f"message {number} is no object of role and content; mend the row")
    role_key, content_key = ("from", "value") if "from" in turn else ("role", "content")
    role, content = turn.get(role_key), turn.get(content_key)
    if not isinstance(role, str) or role.lower() not in _ROLES:
        known = "system, user (human) and assistant (gpt)"
        raise ValueError(f"message {number} has the {role_key} {role!r}; known are {known}")
    if not isinstance(content, str):
        raise ValueError(f"message {number} has no {content_key} that is a string; mend the row")
    return Message(_ROLES[role.lower()], content)


def _flaw(messages: list[Message], is_log: bool) -> str:
    """Why a dialog is of no use, "" if it is. Logs in wrong order are of no use, others wrong."""
    try:
        check_turns(tuple(messages))
    except ValueError as error:
        if is_log:
            return "turns out of order or empty"
        raise ValueError(f"{error}; mend or remove the row") from error
    if messages[-1].role != "assistant":
        return "no answer at the end"
    if any(message.role == "assistant" and not message.content.strip() for message in messages):
        return "empty answer"
    return ""
