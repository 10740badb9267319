"""Recognises what a row is from its keys and values: the formats that people bring.

| format        | a row                                                                           |
|---------------|---------------------------------------------------------------------------------|
| messages      | `messages`: a list of role and content                                          |
| sharegpt      | `conversations`: a list of from (human, gpt, system) and value                  |
| preference    | `chosen`, `rejected`, `prompt`: strings or messages; without `prompt`, messages |
| hh            | `chosen`, `rejected`, or `text`: whole transcripts of Human: and Assistant:;    |
|               | the two sides also as lists of their turns                                      |
| helpsteer     | `context`, `response1`, `response2`, `overall_preference`: HelpSteer3           |
| saferlhf      | `prompt`, `response_0`, `response_1` with labels: PKU-SafeRLHF                  |
| ultrafeedback | `instruction`, `completions`: a list, with scores: UltraFeedback                |
| completion    | `prompt` (or `question`) and `completion` (or `response`, `answer`)             |
| alpaca        | `instruction`, `input`, `output`                                                |
| self_instruct | `instruction`, `instances`: a list of input and output                          |
| oasst         | a tree of messages, or its messages one by one                                  |
| table         | question, answer and rationale, parted by tabs (`rationale` is read in rows too) |
| prompt        | a JSON string, or `prompt` alone                                                |
| text          | `text` (or `content`): a document                                               |
| plain         | txt, md, rst: prose; as prompts, one a line                                     |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from arriero.data import files, oasst
from arriero.data.rows import Bad, Row, container_of, read_rows
from arriero.data.strengths import is_list_of_turns
from arriero.data.transcripts import is_transcript
from arriero.records import UserError

Format = Literal[
    "messages",
    "sharegpt",
    "preference",
    "hh",
    "helpsteer",
    "saferlhf",
    "ultrafeedback",
    "completion",
    "alpaca",
    "self_instruct",
    "oasst",
    "table",
    "prompt",
    "text",
    "plain",
]

QUESTION_KEYS = ("prompt", "question")
ANSWER_KEYS = ("completion", "response", "answer")
TEXT_KEYS = ("text", "content")

# Public sets of comparisons by the keys of their rows, each with a reader of its own.
_PUBLIC_SETS: dict[Format, tuple[str, ...]] = {
    "helpsteer": ("context", "response1", "response2", "overall_preference"),
    "saferlhf": ("prompt", "response_0", "response_1"),
    "ultrafeedback": ("instruction", "completions"),
}


def detect_format(path: Path | str) -> Format:
    """The format of a file, or of a folder's first file, by its first readable row.

    Raises:
        UserError: the path is missing or empty, or its rows are in no format known here.
    """
    (given,) = files.given_paths(path)
    first_bad: Bad | None = None
    for file in files.files_of(given):
        container = container_of(file)
        for row in read_rows(file):
            if isinstance(row, Bad):
                first_bad = first_bad or row
            elif isinstance(row, Row):
                if container in ("plain", "table"):
                    return container
                if (found := recognize(row.value)) is None:
                    raise UserError(f"{row.where}: {unknown(row.value)}")
                return found
    if first_bad is not None:
        raise UserError(f"{first_bad.where}: {first_bad.problem}")
    raise UserError(f"{given} is empty; name another file")


def recognize(value: Any) -> Format | None:
    """The format of one row, None if it is in no format known here.

    >>> recognize({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"})
    'preference'
    """
    if isinstance(value, str):
        return "prompt"
    if not isinstance(value, dict):
        return None
    for name, keys in _PUBLIC_SETS.items():
        if all(key in value for key in keys):
            return name
    if "chosen" in value and "rejected" in value:
        both = (value["chosen"], value["rejected"])
        return "hh" if all(map(_is_spoken, both)) and "prompt" not in value else "preference"
    if oasst.is_tree(value) or oasst.is_message(value):
        return "oasst"
    if "messages" in value:
        return "messages"
    if "conversations" in value:
        return "sharegpt"
    if "instruction" in value:
        if "instances" in value:
            return "self_instruct"
        return "alpaca" if "output" in value else None
    return _recognize_text(value)


def holds_preferences(found: Format | None, value: Any) -> bool:
    """Whether a row of a format compares answers; a transcript does where it has two sides."""
    return found == "preference" or found in _PUBLIC_SETS or (found == "hh" and "chosen" in value)


def _is_spoken(side: Any) -> bool:
    """Whether a side is a whole dialog as text: a transcript, or a list of turns."""
    return is_list_of_turns(side) or (isinstance(side, str) and is_transcript(side))


def _recognize_text(value: dict[str, Any]) -> Format | None:
    if first_key(value, QUESTION_KEYS) is not None:
        return "prompt" if first_key(value, ANSWER_KEYS) is None else "completion"
    if (key := first_key(value, TEXT_KEYS)) is None:
        return None
    text = value[key]
    return "hh" if isinstance(text, str) and is_transcript(text) else "text"


def first_key(value: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first of `keys` that a row has."""
    return next((key for key in keys if key in value), None)


def unknown(value: Any) -> str:
    """What to tell a user about a row in no known format."""
    if not isinstance(value, dict):
        return "a row is an object, or a string that is a prompt; mend or remove it"
    keys = ", ".join(repr(key) for key in value) or "no keys"
    return (
        f"a row with {keys} is in no known format; it needs 'messages', or 'prompt' with "
        "'completion' or with 'chosen' and 'rejected', or 'text'"
    )


def unfit(found: Format | None, value: Any, what: str) -> str:
    """What to tell a user whose row is in a known format that is of no use here."""
    if found is None:
        return unknown(value)
    if holds_preferences(found, value):
        noun = "a preference"
    else:
        noun = {
            "prompt": "a prompt or a line of plain text",
            "text": "a document",
            "hh": "a transcript",
        }.get(found, f"a dialog ({found})")
    return f"this row holds {noun}, but {what} are asked for; name another file"
