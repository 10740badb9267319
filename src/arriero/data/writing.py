"""Writes dialogs, preferences and prompts as JSON lines that our readers and others' take as is.

A file appears whole or not at all: rows go to a temporary file beside it, which is then renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from arriero.records import Dialog, Message, Preference, Prompt


def write_dialogs(path: Path, dialogs: Iterable[Dialog]) -> int:
    """Write `messages`, `source` and, where they hold, `is_cut` and `last_answer_only`.

    Returns the number of rows.
    """
    return _write(path, (_dialog_row(dialog) for dialog in dialogs))


def write_preferences(path: Path, preferences: Iterable[Preference]) -> int:
    """Write `prompt` (messages), `chosen`, `rejected` and all tags; return the number of rows.

    `batch` is written where a row has one.
    """
    return _write(path, (_preference_row(preference) for preference in preferences))


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> int:
    """Write `id`, `messages`, `track` and `category`; return the number of rows."""
    return _write(path, (_prompt_row(prompt) for prompt in prompts))


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows of any keys; return their number."""
    return _write(path, rows)


def _dialog_row(dialog: Dialog) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": _turns(dialog.messages), "source": dialog.source}
    for tag in ("is_cut", "last_answer_only"):
        if getattr(dialog, tag):
            row[tag] = True
    return row


def _preference_row(preference: Preference) -> dict[str, Any]:
    row: dict[str, Any] = {
        "prompt": _turns(preference.prompt),
        "chosen": preference.chosen,
        "rejected": preference.rejected,
        "rating": preference.rating,
        "chosen_is_safe": preference.chosen_is_safe,
        "rejected_is_safe": preference.rejected_is_safe,
        "track": preference.track,
        "prompt_id": preference.prompt_id,
        "source": preference.source,
        "annotator": preference.annotator,
    }
    return row | {"batch": preference.batch} if preference.batch else row


def _prompt_row(prompt: Prompt) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "messages": _turns(prompt.messages),
        "track": prompt.track,
        "category": prompt.category,
    }


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    num_rows = 0
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                num_rows += 1
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return num_rows
