"""The chat in the terminal: answers stream as they are drawn; works in pipes too.

What a model says is not trusted: control characters, which could move the cursor, recolour the
screen or turn text around, are shown and never sent to the terminal.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from arriero.records import Message, UserError

COMMANDS = {
    "/system": "TEXT: set the system message; without TEXT remove it",
    "/regen": "answer the last message once more",
    "/save": "FILE: write the dialog as a line of JSON",
    "/clear": "forget the dialog, keep the system message",
    "/help": "show this",
    "/quit": "leave (so does Ctrl-D; Ctrl-C stops an answer)",
}
# C0 without tab and newline, DEL, C1, marks of writing direction, lone surrogates.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class ChatModel(Protocol):
    """What the chat needs of a model. `stream` yields pieces of text as they are drawn.

    `fits` says whether the dialog leaves room for an answer in the model's context.
    """

    name: str

    def fits(self, messages: Sequence[Message]) -> bool: ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How answers are drawn; each further answer of a chat takes the next seed."""

    temperature: float = 0.6
    top_p: float = 0.9
    max_new_tokens: int = 256
    seed: int = 0


@dataclass(slots=True)
class _Talk:
    """A dialog under way. `first` is the first message that the model still sees."""

    model: ChatModel
    settings: ChatSettings
    console: Console
    system: str | None
    messages: list[Message] = field(default_factory=list[Message])
    stopped: set[int] = field(default_factory=set[int])
    first: int = 0
    num_answers: int = 0


def chat(
    model: ChatModel,
    *,
    system: str | None,
    prompt: str | None,
    settings: ChatSettings,
    console: Console,
) -> None:
    """Answer `prompt` and return, or talk until the user leaves.

    With a prompt only the answer goes to the console's file, plainly, newline at the end.

    Raises:
        UserError: the prompt is empty or too long for the model, or the model refuses it.
    """
    talk = _Talk(model, settings, console, _decodable(system or "").strip() or None)
    try:
        if prompt is not None:
            _answer_once(talk, prompt)
        else:
            _converse(talk)
    except BrokenPipeError:
        # The reader went away, as `head` does. Python would complain of it again on leaving.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def visible(text: str) -> str:
    """The text with control characters made visible: ESC becomes ␛, others � or their picture."""
    return _CONTROL.sub(
        lambda match: chr(0x2400 + ord(match[0])) if match[0] < " " else "\ufffd", text
    )


def _answer_once(talk: _Talk, prompt: str) -> None:
    if not prompt.strip():
        raise UserError("the prompt is empty: say something after -p")
    messages = _with_system(talk, [Message("user", _decodable(prompt))])
    if not talk.model.fits(messages):
        raise UserError("the prompt is too long for the model's context: shorten it")
    last = ""
    for piece in _stream(talk, messages):
        _write(talk.console, piece)
        last = piece or last
    if not last.endswith("\n"):
        _write(talk.console, "\n")


def _converse(talk: _Talk) -> None:
    is_typed = sys.stdin.isatty()
    if is_typed:
        # Line editing and history for input(); some builds of Python lack it.
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")
        _note(talk, f"{talk.model.name}: write a message, or /help")
    while True:
        try:
            line = input("> " if is_typed else "")
        except EOFError:
            if is_typed:
                _write(talk.console, "\n")
            return
        except KeyboardInterrupt:
            _write(talk.console, "\n")
            _note(talk, "Ctrl-D or /quit leaves")
            continue
        line = _decodable(line).strip()
        if line.split()[:1] == ["/quit"]:
            return
        # While an answer streams Ctrl-C is caught nearer; here it ends whatever else takes long.
        with contextlib.suppress(KeyboardInterrupt):
            if line.startswith("/") and not line.startswith("//"):
                _obey(talk, line)
            elif line:
                _reply(talk, line.removeprefix("/"))


def _obey(talk: _Talk, line: str) -> None:
    """Do what a line with a slash says; mistakes get one line and change nothing."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "/help":
            for name, meaning in COMMANDS.items():
                _note(talk, f"{name:8} {meaning}")
            _note(talk, "//text   send a message that begins with a slash")
        case "/system":
            talk.system, talk.first = rest or None, 0
            _note(talk, "system message set" if rest else "no system message now")
        case "/clear":
            talk.messages.clear()
            talk.stopped.clear()
            talk.first = 0
            _note(talk, "the dialog is forgotten")
        case "/regen":
            if not talk.messages:
                _complain(talk, "there is no answer yet")
                return
            kept = list(talk.messages[-2:])
            was_stopped = len(talk.messages) - 1 in talk.stopped
            del talk.messages[-2:]
            talk.stopped.discard(len(talk.messages) + 1)
            if not _reply(talk, kept[0].content):
                talk.messages += kept
                if was_stopped:
                    talk.stopped.add(len(talk.messages) - 1)
        case "/save":
            _save(talk, rest)
        case _:
            near = difflib.get_close_matches(command, COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "/help lists all commands"
            _complain(talk, f"no command {command}: {hint}")


def _reply(talk: _Talk, said: str) -> bool:
    """Answer a message and add both to the dialog; False leaves the dialog as it was."""
    asked = Message("user", said)
    first = talk.first
    while True:
        seen = _with_system(talk, [*talk.messages[first:], asked])
        if talk.model.fits(seen):
            break
        if first >= len(talk.messages):
            _complain(talk, "this message is too long for the model's context: shorten it")
            return False
        first += 2
    if first > talk.first:
        exchanges = "exchange" if first == 2 else f"{first // 2} exchanges"
        _note(talk, f"no room: the model no longer sees the oldest {exchanges}")
    talk.first = first
    pieces: list[str] = []
    is_stopped = False
    try:
        for piece in _stream(talk, seen):
            pieces.append(piece)
            _write(talk.console, piece)
    except KeyboardInterrupt:
        is_stopped = True
    except UserError as error:
        _complain(talk, str(error))
        return False
    answer = "".join(pieces).strip()
    if pieces and not pieces[-1].endswith("\n"):
        _write(talk.console, "\n")
    if is_stopped and not answer:
        _note(talk, "[stopped before the first word; the message is taken back]")
        return False
    if is_stopped:
        talk.stopped.add(len(talk.messages) + 1)
        _note(talk, "[stopped]")
    elif not answer:
        _note(talk, "[empty answer]")
    talk.messages += [asked, Message("assistant", answer)]
    return True


def _stream(talk: _Talk, messages: Sequence[Message]) -> Iterator[str]:
    seed = talk.settings.seed + talk.num_answers
    talk.num_answers += 1
    return talk.model.stream(
        messages,
        temperature=talk.settings.temperature,
        top_p=talk.settings.top_p,
        max_new_tokens=talk.settings.max_new_tokens,
        seed=seed,
    )


def _with_system(talk: _Talk, messages: Sequence[Message]) -> list[Message]:
    return [*([Message("system", talk.system)] if talk.system else []), *messages]


def _save(talk: _Talk, name: str) -> None:
    """Write the whole dialog as one line that our readers take as data; never over a file.

    `stopped` holds the positions of answers that were cut off; where the last one is among them,
    `is_cut` keeps training from learning that it ends there.
    """
    if not talk.messages:
        _complain(talk, "there is nothing to save yet")
        return
    if not name:
        _complain(talk, "/save needs a file name, such as /save dialog.jsonl")
        return
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        _complain(talk, f"{name}: no such user; name another file")
        return
    if path.exists():
        _complain(talk, f"{path} exists and is not overwritten: choose another name")
        return
    shift = 1 if talk.system else 0
    messages = _with_system(talk, talk.messages)
    row: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "source": "chat",
        "stopped": [position + shift for position in sorted(talk.stopped)],
    }
    if len(talk.messages) - 1 in talk.stopped:
        row["is_cut"] = True
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        _complain(talk, f"cannot write {path}: {error.strerror}")
        return
    finally:
        draft.unlink(missing_ok=True)
    _note(talk, f"saved to {path}")


def _write(console: Console, text: str) -> None:
    """Untrusted text, as it is but for control characters, at once."""
    encoding = getattr(console.file, "encoding", None) or "utf-8"
    console.file.write(visible(text).encode(encoding, "replace").decode(encoding))
    console.file.flush()


def _note(talk: _Talk, line: str) -> None:
    talk.console.print(Text(visible(line), style="dim"), soft_wrap=True)


def _complain(talk: _Talk, line: str) -> None:
    talk.console.print(Text(visible(line), style="red"), soft_wrap=True)


def _decodable(text: str) -> str:
    """Typed bytes that were no UTF-8 arrive as lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
