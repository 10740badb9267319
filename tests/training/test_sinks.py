"""Each sink is written to for real and read back with its own package."""

from __future__ import annotations

import importlib
import json
import math
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arriero.records import UserError
from arriero.training import sinks
from arriero.training.sinks import (
    Forgiving,
    JsonLines,
    Line,
    Sink,
    check_sinks,
    last_line,
    open_sinks,
    rewind,
)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    folder = tmp_path / "valley" / "02-pretrain"
    folder.mkdir(parents=True)
    return folder


def fill(found: list[Sink], start: int, stop: int, offset: float = 0.0) -> None:
    """Lines as a meter writes them: numbers, and words that no curve can show."""
    for step in range(start, stop):
        for sink in found:
            sink.write({"step": step, "loss": 5.0 - step + offset, "skipped": "spike", "ok": True})
    for sink in found:
        sink.close()


def silent(line: str) -> None:
    raise AssertionError(f"nothing should have been said: {line}")


def test_json_lines_are_json_also_where_a_number_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sink = JsonLines(path, 0)
    sink.write({"step": 0, "loss": math.nan, "grad_norm": math.inf, "lr": 0.1})
    assert path.read_text() == '{"step": 0, "loss": null, "grad_norm": null, "lr": 0.1}\n'


def test_rewinding_keeps_what_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"step": 1}\nnull\n{"other": 1}\n{"step": 2}\n{"step": 3, "l')
    rewind(path, 2)
    assert path.read_text() == '{"step": 0}\n{"step": 1}\n'
    rewind(tmp_path / "none.jsonl", 2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert last_line(path) == {}
    path.write_text('{"step": 0}\n{"step": 1}\n[]\n{"step": 2, "l')
    assert last_line(path) == {"step": 1}


def test_without_wishes_there_are_no_sinks(stage: Path) -> None:
    assert open_sinks(stage, 0, silent, tensorboard=False, wandb="", trackio="") == []
    assert list(stage.iterdir()) == []


@pytest.mark.slow
def test_tensorboard_shows_each_step_once_after_a_resume(stage: Path) -> None:
    fill(open_sinks(stage, 0, silent, tensorboard=True, wandb="", trackio=""), 0, 6)
    fill(open_sinks(stage, 3, silent, tensorboard=True, wandb="", trackio=""), 3, 8, offset=0.5)
    reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(stage / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    shown = {event.step: event.value for event in events.Scalars("loss")}
    assert shown == {0: 5, 1: 4, 2: 3, 3: 2.5, 4: 1.5, 5: 0.5, 6: -0.5, 7: -1.5}
    assert len(events.Scalars("loss")) == 8


@pytest.mark.slow
def test_wandb_offline_keeps_every_line_here(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_sinks({"wandb": "valley"})
    fill(open_sinks(stage, 0, silent, tensorboard=False, wandb="valley", trackio=""), 0, 6)
    fill(open_sinks(stage, 3, silent, tensorboard=False, wandb="valley", trackio=""), 3, 8)
    first, second = sorted(stage.glob("wandb/offline-run-*/run-*.wandb"))
    # The same run there, so that what is resumed goes on in one curve.
    assert first.name == second.name
    assert [line["step"] for line in wandb_lines(first, 6)] == [0, 1, 2, 3, 4, 5]
    lines = wandb_lines(second, 5)
    assert [line["step"] for line in lines] == [3, 4, 5, 6, 7]
    assert [line["loss"] for line in lines] == [2, 1, 0, -1, -2]
    assert not any("skipped" in line or "ok" in line for line in lines)


@pytest.mark.slow
def test_trackio_has_every_line_in_its_database(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils: Any = importlib.import_module("trackio.utils")
    storage: Any = importlib.import_module("trackio.sqlite_storage")
    for module in (utils, storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    fill(open_sinks(stage, 0, silent, tensorboard=False, wandb="", trackio="valley"), 0, 4)
    fill(open_sinks(stage, 4, silent, tensorboard=False, wandb="", trackio="valley"), 4, 6)
    (database,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step")
        found = [(name, step, json.loads(text)) for name, step, text in rows]
    connection.close()
    assert [(name, step) for name, step, _ in found] == [
        ("valley/02-pretrain", step) for step in range(6)
    ]
    assert [figures["loss"] for _, _, figures in found] == [5, 4, 3, 2, 1, 0]


class Failing:
    """A sink whose server goes away at the third line."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, line: Line) -> None:
        if len(self.lines) == 2:
            raise ConnectionError("the server\nhas gone")
        self.lines.append(line)

    def close(self) -> None:
        raise AssertionError("it was dropped before")


def test_a_sink_that_fails_is_dropped_with_a_word() -> None:
    said: list[str] = []
    failing = Failing()
    sink = Forgiving("The board", lambda: failing, said.append)
    for step in range(5):
        sink.write({"step": step})
    sink.close()
    assert len(failing.lines) == 2
    assert said == [
        "The board takes no more figures (the server has gone); metrics.jsonl has them all"
    ]


def test_a_sink_that_cannot_be_opened_costs_no_run() -> None:
    def make() -> Sink:
        raise OSError("no such host")

    said: list[str] = []
    sink = Forgiving("The board", make, said.append)
    sink.write({"step": 0})
    sink.close()
    assert len(said) == 1
    assert "no such host" in said[0]


@pytest.mark.parametrize("package", sinks.PACKAGES)
def test_a_missing_package_is_refused_with_the_mend(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'arriero\[{package}\]'"):
        check_sinks({package: "valley"})
    check_sinks({"tensorboard": False, "wandb": "", "trackio": ""})


@pytest.mark.slow
def test_wandb_without_a_key_is_refused_before_it_would_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wandb: Any = importlib.import_module("wandb")
    wandb.teardown()
    with pytest.raises(UserError, match="WANDB_MODE=offline needs none"):
        check_sinks({"wandb": "valley"})


def wandb_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The lines in W&B's own file, once there are so many: its service writes behind our back."""
    deadline = time.monotonic() + 20
    while len(found := list(history(path.read_bytes()))) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def history(content: bytes) -> Iterator[dict[str, Any]]:
    """Logged lines of a W&B file: protobuf records in a log of LevelDB's kind."""
    pb: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    block, header, at, record = 32768, 7, 7, b""
    while at + header <= len(content):
        if block - at % block < header:  # none fits into the rest of a block
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + header])
        record += content[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):  # a whole record, or the last part of one
            whole, record = pb.Record.FromString(record), b""
            if whole.HasField("history"):
                yield {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in whole.history.item
                }
