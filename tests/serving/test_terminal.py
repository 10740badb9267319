"""The chat in the terminal, with a scripted model; once in a real terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from arriero.data.dialogs import read_dialogs
from arriero.records import Dialog, Message, UserError
from arriero.serving.terminal import ChatSettings, chat, visible


@dataclass
class Scripted:
    """Says its lines in turn, in pieces of three letters; `^` stands for Ctrl-C, `!` for a refusal.

    Its context holds `room` words, prompt only.
    """

    lines: Sequence[str]
    room: int = 1000
    name: str = "scripted"
    seen: list[list[Message]] = field(default_factory=list[list[Message]])
    seeds: list[int] = field(default_factory=list[int])

    def fits(self, messages: Sequence[Message]) -> bool:
        return sum(len(message.content.split()) for message in messages) <= self.room

    def stream(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> Iterator[str]:
        line = self.lines[len(self.seen)]
        self.seen.append(list(messages))
        self.seeds.append(seed)
        for start in range(0, len(line), 3):
            piece = line[start : start + 3]
            if piece.startswith("^"):
                raise KeyboardInterrupt
            if piece.startswith("!"):
                raise UserError("the model will not")
            yield piece


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def ask(model: Scripted, prompt: str, system: str | None = None) -> str:
    console = Console(file=io.StringIO())
    chat(model, system=system, prompt=prompt, settings=ChatSettings(seed=3), console=console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def talk(
    model: Scripted, typed: str, monkeypatch: pytest.MonkeyPatch, system: str | None = None
) -> str:
    """What a whole chat shows when these lines come from a pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    console = Console(file=io.StringIO(), width=200)
    chat(model, system=system, prompt=None, settings=ChatSettings(seed=5), console=console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_one_prompt_gives_the_answer_alone() -> None:
    model = Scripted(["Bena lives in Alto Verde."])
    assert ask(model, "Where does Bena live?", "Be kind.") == "Bena lives in Alto Verde.\n"
    assert model.seen == [[Message("system", "Be kind."), user("Where does Bena live?")]]
    assert model.seeds == [3]


def test_one_prompt_keeps_markup_brackets_and_newlines_as_they_are() -> None:
    text = "[bold]not bold[/bold] [/nothing] :smile:\n\tone\n"
    assert ask(Scripted([text]), "hi") == text


def test_one_prompt_that_is_empty_or_too_long_is_refused() -> None:
    with pytest.raises(UserError, match="empty"):
        ask(Scripted([]), "  ")
    with pytest.raises(UserError, match="too long"):
        ask(Scripted([], room=3), "one two three four")


def test_control_characters_are_shown_and_not_sent() -> None:
    assert visible("a\x1b[31mred\x07\r\n\tb") == "a␛[31mred␇␍\n\tb"
    assert visible("\x9b31m\u202egnp\u2066\x7f") == "�31m�gnp��"
    assert "\x1b" not in ask(Scripted(["\x1b]0;title\x07\x1b[2J"]), "hi")


def test_text_that_the_output_cannot_encode_is_replaced() -> None:
    buffer = io.BytesIO()
    console = Console(file=io.TextIOWrapper(buffer, encoding="ascii", write_through=True))
    chat(Scripted(["¡ya, ok"]), system=None, prompt="hi", settings=ChatSettings(), console=console)
    assert buffer.getvalue() == b"?ya, ok\n"


def test_bytes_that_are_no_utf8_reach_the_model_replaced() -> None:
    model = Scripted(["ok"])
    ask(model, "caf\udce9")
    assert model.seen[0][-1].content == "caf?"


def test_a_dialog_goes_on_with_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["one", "two"])
    assert talk(model, "first\n\n   \nsecond\n", monkeypatch) == "one\ntwo\n"
    assert model.seen[1] == [user("first"), assistant("one"), user("second")]
    assert model.seeds == [5, 6]


def test_system_message_is_set_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["one", "two"])
    talk(model, "/system Be curt.\nhi\n/system\nho\n", monkeypatch, system="Be kind.")
    assert model.seen[0][0] == Message("system", "Be curt.")
    assert model.seen[1][0] == user("hi")


def test_regen_answers_the_same_message_with_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["one", "two", "three"])
    talk(model, "/regen\nhi\n/regen\nho\n", monkeypatch)
    assert model.seen[0] == model.seen[1] == [user("hi")]
    assert model.seeds == [5, 6, 7]
    assert model.seen[2] == [user("hi"), assistant("two"), user("ho")]


def test_regen_that_fails_keeps_the_answer_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["one", "!", "three"])
    shown = talk(model, "hi\n/regen\nho\n", monkeypatch)
    assert "the model will not" in shown
    assert model.seen[2] == [user("hi"), assistant("one"), user("ho")]


def test_clear_forgets_the_dialog_and_keeps_the_system_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Scripted(["one", "two"])
    talk(model, "hi\n/clear\nho\n", monkeypatch, system="Be kind.")
    assert model.seen[1] == [Message("system", "Be kind."), user("ho")]


def test_quit_leaves_before_the_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["one"])
    talk(model, "hi\n/quit\nnever\n", monkeypatch)
    assert len(model.seen) == 1


def test_a_wrong_command_names_the_nearest_and_a_doubled_slash_is_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Scripted(["one"])
    shown = talk(model, "/sytem x\n/zzz\n/help\n//etc\n", monkeypatch)
    assert "did you mean /system?" in shown
    assert "no command /zzz: /help lists all commands" in shown
    assert "/regen" in shown
    assert model.seen == [[user("/etc")]]


def test_ctrl_c_keeps_the_part_that_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dialog.jsonl"
    model = Scripted(["onetwo^", "three", "^"])
    typed = f"hi\nho\nlost\n/save {path}\n"
    shown = talk(model, typed, monkeypatch, system="Be kind.")
    assert "onetwo\n[stopped]\n" in shown
    assert "taken back" in shown
    row = json.loads(path.read_text(encoding="utf-8"))
    said = [message["content"] for message in row["messages"]]
    assert said == ["Be kind.", "hi", "onetwo", "ho", "three"]
    assert row["stopped"] == [2]
    assert "is_cut" not in row
    assert Dialog(tuple(Message(m["role"], m["content"]) for m in row["messages"])).is_answered


def test_save_never_overwrites_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_text("mine")
    missing = tmp_path / "nowhere" / "x.jsonl"
    typed = f"/save {taken}\nhi\n/save\n/save {taken}\n/save {missing}\n"
    shown = talk(Scripted(["one"]), typed, monkeypatch)
    assert "nothing to save" in shown
    assert "/save needs a file name" in shown
    assert "is not overwritten" in shown
    assert "cannot write" in shown
    assert taken.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["taken.jsonl"]


def test_the_oldest_exchanges_go_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Scripted(["a b", "c d", "e f", "g"], room=6)
    shown = talk(model, "1 2\n3 4\n5 6\n7\n1 2 3 4 5 6 7\n", monkeypatch)
    assert model.seen[1] == [user("1 2"), assistant("a b"), user("3 4")]
    assert model.seen[2] == [user("3 4"), assistant("c d"), user("5 6")]
    assert model.seen[3] == [user("5 6"), assistant("e f"), user("7")]
    assert shown.count("no longer sees") == 2
    assert "no longer sees the oldest exchange\n" in shown
    assert "no longer sees the oldest 2 exchanges" in shown
    assert "too long for the model's context" in shown


_PROGRAM = """
import fcntl, signal, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# A shell's background jobs, pytest among them, inherit an ignored Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from rich.console import Console
from arriero.serving.terminal import ChatSettings, chat

class Slow:
    name = "slow"
    def fits(self, messages): return True
    def stream(self, messages, **settings):
        for word in range(10_000):
            yield f"word{word} "
            time.sleep(0.02)

chat(Slow(), system=None, prompt=None, settings=ChatSettings(), console=Console())
print("left in peace")
"""


def test_in_a_real_terminal_ctrl_c_stops_the_answer_and_ctrl_d_leaves() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    try:
        _await(leader, "> ")
        os.write(leader, b"hello\n")
        _await(leader, "word3")
        os.write(leader, b"\x03")
        _await(leader, "[stopped]")
        _await(leader, "> ")
        os.write(leader, b"\x03")
        _await(leader, "/quit leaves")
        _await(leader, "> ")
        os.write(leader, b"\x04")
        _await(leader, "left in peace")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _await(terminal: int, wanted: str, seconds: float = 30) -> None:
    """Read byte by byte until `wanted` was shown, so that nothing after it is lost."""
    shown = ""
    end = time.monotonic() + seconds
    while wanted not in shown:
        left = end - time.monotonic()
        assert left > 0, f"waited for {wanted!r}, saw {shown!r}"
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 1).decode("utf-8", "replace")


def test_a_saved_answer_that_was_stopped_is_read_as_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dialog.jsonl"
    talk(Scripted(["one", "two^"]), f"hi\nho\n/save {path}\n", monkeypatch)
    (dialog,) = read_dialogs(path)
    assert (dialog.answer, dialog.is_cut) == ("two", True)
