"""metrics.jsonl: one line a step, none of them twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arriero.training import meters
from arriero.training.loop import StepReport
from arriero.training.meters import Meter, TimeLeft


def report(step: int) -> StepReport:
    return StepReport(step, 1.5, 0.1, 0.7, 100, 0.5, skipped=False)


def test_lines_and_progress(tmp_path: Path) -> None:
    said: list[str] = []
    meter = Meter(tmp_path / "metrics.jsonl", 0, 3, said.append, "tokens")
    for step in range(3):
        meter.record(report(step), valid_loss=2.0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert lines[0]["tokens"] == 100
    assert lines[0]["tokens_per_s"] == 200
    assert lines[0]["valid_loss"] == 2.0
    assert said[0].startswith("step 1/3  loss 1.500")
    assert said[-1].startswith("step 3/3")


def test_a_resumed_run_writes_over_what_it_does_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    meter = Meter(path, 0, 9, lambda line: None, "tokens")
    for step in range(5):
        meter.record(report(step))
    with path.open("a") as file:
        file.write('{"step": 5, "lo')  # cut in two by a kill
    meter = Meter(path, 3, 9, lambda line: None, "tokens")
    meter.record(report(3))
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]


def test_time_left_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of six were there; two more took 10 seconds; so the other two take 10."""
    times = iter([100.0, 110.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(times))
    assert TimeLeft(6, 2).after(4) == "10 s left"
