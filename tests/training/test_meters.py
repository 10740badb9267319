"""metrics.jsonl: one line a step, none of them twice, with what the step cost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.training import meters
from arriero.training.figures import Machine, Tally
from arriero.training.guards import Verdict
from arriero.training.loop import StepReport
from arriero.training.meters import Meter, TimeLeft
from arriero.training.sinks import Line

MACHINE = Machine(torch.device("cpu"), flops_per_s=1000.0, watts=400.0)


def report(step: int, loss: float = 1.5, verdict: Verdict = "ok") -> StepReport:
    return StepReport(step, loss, 0.1, 0.7, 100, 0.5, 0.01, verdict)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_and_progress(tmp_path: Path) -> None:
    said: list[str] = []
    meter = Meter(tmp_path / "metrics.jsonl", 0, 3, said.append, "tokens")
    for step in range(3):
        meter.record(report(step), valid_loss=2.0)
    lines = lines_of(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert lines[0]["tokens"] == 100
    assert lines[0]["tokens_per_s"] == 200
    assert lines[0]["data_wait_share"] == 0.02
    assert lines[0]["valid_loss"] == 2.0
    assert "skipped" not in lines[0]
    assert "mfu" not in lines[0]
    assert said[0].startswith("step 1/3  loss 1.500")
    assert said[-1].startswith("step 3/3")


def test_what_the_machine_did(tmp_path: Path) -> None:
    """Two batches of 50 operations, on each of two ranks, in half a second: 400 of 1,000 a second.

    Then none: the tally begins anew with each step.
    """
    said: list[str] = []
    tally = Tally(lambda batch: torch.tensor(0.0), lambda batch: 50.0)
    machine = Machine(torch.device("cpu"), flops_per_s=1000.0, watts=400.0, data_ranks=2)
    path = tmp_path / "metrics.jsonl"
    meter = Meter(path, 0, 2, said.append, "tokens", machine=machine, tally=tally)
    tally("a")
    tally("b")
    meter.record(report(0))
    meter.record(report(1))
    first, second = lines_of(path)
    assert first["mfu"] == pytest.approx(0.4)
    assert second["mfu"] == 0.0
    assert "MFU 40%" in said[0]
    assert "waiting 2.0%" in said[0]
    assert first["memory_peak_gb"] > 0.01
    # Energy and carbon follow from the line's own time.
    assert second["energy_wh"] == pytest.approx(400.0 * second["elapsed_s"] / 3600)
    assert second["co2_g"] == pytest.approx(second["energy_wh"] * 0.4235)
    assert second["elapsed_s"] > first["elapsed_s"]


def test_a_skipped_step_says_why_and_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    meter = Meter(path, 0, 2, lambda line: None, "tokens")
    meter.record(report(0, math.nan, "not finite"))
    meter.record(report(1, 50.0, "spike"))
    assert "NaN" not in path.read_text()
    first, second = lines_of(path)
    assert (first["loss"], first["skipped"]) == (None, "not finite")
    assert (second["loss"], second["skipped"]) == (50.0, "spike")


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


def test_energy_counts_what_was_done_twice(tmp_path: Path) -> None:
    """Killed after an hour of five steps, resumed at the third: the hour has been spent."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": s, "elapsed_s": 720.0 * (s + 1)}) + "\n"
                            for s in range(5)))  # fmt: skip
    meter = Meter(path, 3, 9, lambda line: None, "tokens", machine=MACHINE)
    meter.record(report(3))
    last = lines_of(path)[-1]
    assert last["step"] == 3
    assert last["elapsed_s"] == pytest.approx(3600, abs=5)
    assert last["energy_wh"] == pytest.approx(400, abs=1)


def test_other_sinks_get_the_same_lines_and_are_closed(tmp_path: Path) -> None:
    got: list[Line] = []

    class Kept:
        closed = 0

        def write(self, line: Line) -> None:
            got.append(line)

        def close(self) -> None:
            self.closed += 1

    sink = Kept()
    meter = Meter(tmp_path / "metrics.jsonl", 0, 2, lambda line: None, "pairs", sinks=[sink])
    meter.record(report(0), margin=0.5)
    meter.record(report(1))
    meter.close()
    assert got == lines_of(tmp_path / "metrics.jsonl")
    assert sink.closed == 1


def test_a_rank_without_a_file_writes_nothing(tmp_path: Path) -> None:
    meter = Meter(None, 0, 2, lambda line: None, "tokens", machine=MACHINE)
    meter.record(report(0))
    meter.close()
    assert list(tmp_path.iterdir()) == []


def test_time_left_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of six were there; two more took 10 seconds; so the other two take 10."""
    times = iter([100.0, 110.0])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(times))
    assert TimeLeft(6, 2).after(4) == "10 s left"
