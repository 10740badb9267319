"""Reads prompts: messages that end with the user's, with the tags that the recipe needs.

Prompts come from rows of their own (strings, `prompt`, `messages`, lines of plain text) and from
rows that answer them (dialogs, preferences, trees), whose last answers are left out. A prompt that
names no id gets one made of its words; the second time the same prompt comes it is skipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arriero.data import files
from arriero.data.dialogs import to_dialogs, to_messages, to_prompt
from arriero.data.formats import QUESTION_KEYS, first_key, holds_preferences, recognize, unfit
from arriero.data.preferences import to_preferences
from arriero.data.rows import Bad, Row, Skip, convert, read_rows, require
from arriero.data.tags import prompt_id, to_track
from arriero.records import Message, Prompt
from arriero.records.prompt import Track


def read_prompts(
    paths: Path | str | Sequence[Path | str],
    *,
    track: Track = "helpfulness",
    skipped: Counter[str] | None = None,
) -> Iterator[Prompt]:
    """Yield the prompts of files, folders (their files by name) or hub ids.

    Args:
        paths: one or several.
        track: of rows that name none.
        skipped: counts, by reason, the rows that were of no use.

    Raises:
        UserError: a path is missing or without prompts, or a row is wrong (`file:line: ...`).
    """
    seen: set[str] = set()
    read = partial(prompts_of, track=track, seen=seen)
    return require(files.given_paths(paths), read, "prompts", skipped)


def prompts_of(
    file: Path, track: Track = "helpfulness", seen: set[str] | None = None
) -> Iterator[Prompt | Bad | Skip]:
    """The prompts of one file, with what is wrong or of no use in their places.

    `seen` holds the ids of the prompts read before, and grows.
    """
    return convert(
        read_rows(file), partial(to_prompts, track=track, seen=set() if seen is None else seen)
    )


def to_prompts(row: Row, track: Track, seen: set[str]) -> Iterator[Prompt | Skip]:
    """Yield the prompts of one row that are not in `seen`.

    Raises:
        ValueError: the row holds no prompt, or one in wrong order.
    """
    tags: dict[str, Any] = row.value if isinstance(row.value, dict) else {}
    own_id = _own_id(tags)
    has_own_row = own_id is not None and "prompt_id" not in tags
    for messages in prompts_in(row, track):
        if isinstance(messages, Skip):
            yield messages
            continue
        identity = prompt_id(messages) if own_id is None else own_id
        # Two pairs may share a prompt; two rows of prompts with ids of their own are meant.
        if identity in seen and not has_own_row:
            yield Skip("repeated prompt")
            continue
        seen.add(identity)
        try:
            prompt = Prompt(
                id=identity,
                messages=messages,
                track=to_track(tags.get("track"), track),
                category=str(tags.get("category") or ""),
            )
        except ValueError as error:
            raise ValueError(f"{error}; mend or remove the row") from error
        yield prompt


def prompts_in(row: Row, track: Track) -> Iterator[tuple[Message, ...] | Skip]:
    """Yield the messages of one row's prompts: of one, or several of a tree or of instances.

    Raises:
        ValueError: the row holds no prompt, or one in wrong order.
    """
    value = row.value
    found = recognize(value)
    if found in (None, "text"):
        raise ValueError(unfit(found, value, "prompts"))
    if holds_preferences(found, value):
        for pair in to_preferences(row, track):
            yield pair if isinstance(pair, Skip) else pair.prompt
    elif found == "prompt":
        yield tuple(_lone_prompt(value))
    elif found == "messages" and (messages := to_messages(value["messages"])):
        yield tuple(messages[:-1] if messages[-1].role == "assistant" else messages)
    else:
        for dialog in to_dialogs(row):
            yield dialog if isinstance(dialog, Skip) else dialog.prompt


def _lone_prompt(value: Any) -> list[Message]:
    if isinstance(value, str):
        return to_prompt(value)
    prompt = value[first_key(value, QUESTION_KEYS) or "prompt"]
    if not isinstance(prompt, (str, list)):
        raise ValueError("'prompt' should be a string or messages; mend or remove the row")
    return to_prompt(prompt, value.get("system"))


def _own_id(tags: dict[str, Any]) -> str | None:
    """The id that a row gives its prompt: `id` of a prompt's row, `prompt_id` of a preference's.

    An `id` anywhere else numbers rows, not prompts.
    """
    key = "id" if recognize(tags) in ("prompt", "messages") else "prompt_id"
    found = tags.get(key)
    return str(found) if isinstance(found, (str, int)) and found != "" else None


def prompts_file(folder: Path, split: str, version: int, num_versions: int) -> Path:
    """Where the prompts of a split lie that one version alone gets, counted from 1.

    >>> prompts_file(Path("00-inputs"), "ppo", 1, num_versions=1).name
    'prompts-ppo.jsonl'
    >>> prompts_file(Path("00-inputs"), "ppo", 2, num_versions=5).name
    'prompts-ppo-v2.jsonl'
    """
    suffix = f"-v{version}" if num_versions > 1 else ""
    return folder / f"prompts-{split}{suffix}.jsonl"
