"""A run as it grows on the disk: read while it is written, cut, or half there."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from arriero.road.manifest import Manifest, write_manifest
from arriero.road.names import VersionsConfig, station_names
from arriero.road.watch.following import MetricsFollower, RunFollower
from arriero.training.sinks import rewind

STAGES = tuple(station_names(VersionsConfig()).in_order())


def line(step: int, loss: float | None = 2.0, **more: Any) -> str:
    figures = {"step": step, "num_steps": 10, "loss": loss, "elapsed_s": 3.0 * (step + 1)}
    return json.dumps(figures | more) + "\n"


def finish(folder: Path, inputs: dict[str, str] | None = None, key: str = "k") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(
        folder,
        Manifest(folder.name, "0.1.0", 0, key, inputs or {}, {}, 60.0, 400.0, 6.5, 2.75),
    )


def begin(folder: Path, metrics: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "started.json").write_text('{"key": "k", "seconds": 0}')
    if metrics:
        (folder / "metrics.jsonl").write_text(metrics)
    return folder


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_whole_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = MetricsFollower(path)
    follower.read()
    assert follower.last == {}
    path.write_text(line(0, 5.0) + '{"step": 1, "lo')
    follower.read()
    assert follower.series["loss"] == [5.0]
    append(path, 'ss": 4.0}\n')
    follower.read()
    assert follower.series["loss"] == [5.0, 4.0]
    assert follower.last == {"step": 1, "loss": 4.0}


def test_what_is_no_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'null\n[1]\n\xff\xfe\n{"step": \n' + line(3, None).encode() + b'{"kl": "x"}\n'
    )
    follower = MetricsFollower(path)
    follower.read()
    assert follower.series == {"loss": [], "reward": [], "kl": [], "grad_norm": []}
    assert follower.last == {"kl": "x"}


def test_a_resumed_stage_cuts_its_lines_and_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(step, 9.0 - step) for step in range(6)))
    follower = MetricsFollower(path)
    follower.read()
    rewind(path, 4)
    # As long as before, so that its size alone does not tell.
    append(path, line(4, 7.5) + line(5, 7.4) + line(6, 7.3))
    follower.read()
    assert follower.series["loss"] == [9, 8, 7, 6, 7.5, 7.4, 7.3]
    path.unlink()
    follower.read()
    assert follower.series["loss"] == []


def test_reading_bit_by_bit_is_reading_at_once(tmp_path: Path) -> None:
    text = "".join(line(step, 100.0 / (step + 1), grad_norm=step) for step in range(300)).encode()
    path = tmp_path / "metrics.jsonl"
    bits = MetricsFollower(path)
    for begin_at in range(0, len(text), 777):
        with path.open("ab") as file:
            file.write(text[begin_at : begin_at + 777])
        bits.read()
    whole = MetricsFollower(path)
    whole.read()
    assert (bits.series, bits.last) == (whole.series, whole.last)
    assert len(whole.series["loss"]) == 300
    assert bits.seconds_left() == whole.seconds_left()


def test_time_left_by_hand(tmp_path: Path) -> None:
    """Steps 0 to 3 came 3 seconds apart; six more of ten make 18 seconds."""
    path = tmp_path / "metrics.jsonl"
    follower = MetricsFollower(path)
    path.write_text(line(0))
    follower.read()
    assert follower.seconds_left() is None
    append(path, line(1) + line(2) + line(3))
    follower.read()
    assert follower.seconds_left() == pytest.approx(18.0)


def test_time_left_follows_the_newest_pace(tmp_path: Path) -> None:
    """A slow beginning, then 60 steps of a second: 39 more of them."""
    path = tmp_path / "metrics.jsonl"
    times = [1000.0, *(1000.0 + step for step in range(1, 61))]
    path.write_text(
        "".join(
            json.dumps({"step": step, "num_steps": 100, "elapsed_s": at}) + "\n"
            for step, at in enumerate(times)
        )
    )
    follower = MetricsFollower(path)
    follower.read()
    assert follower.seconds_left() == pytest.approx(39.0)


def test_skipped_steps_are_counted_said_in_words_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(0, skipped="spike") + line(1) + line(2, skipped=2) + line(3, skipped=0))
    follower = MetricsFollower(path)
    follower.read()
    assert follower.skipped == 3


def test_an_empty_run_and_one_that_goes_away(tmp_path: Path) -> None:
    follower = RunFollower(tmp_path / "run", STAGES)
    (tmp_path / "run").mkdir()
    assert follower.look().stages == ()
    assert not follower.look().is_finished
    shutil.rmtree(tmp_path / "run")
    assert follower.look().stages == ()


def test_stages_in_order_with_those_to_come(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run / "00-inputs")
    finish(run / "01-tokenizer", {"00-inputs": "k"})
    begin(run / "02-pretrain", line(0) + line(1, energy_wh=2.0, co2_g=1.0))
    (run / "03-sft").mkdir()  # nothing in it yet
    (run / "recipe.toml").write_text("")
    view = RunFollower(run, STAGES).look()
    assert tuple(stage.name for stage in view.stages) == STAGES
    states = [stage.state for stage in view.stages]
    assert states == ["done", "done", "under way", *["to come"] * 7]
    assert view.stages[0].seconds == 60.0
    assert view.last is not None
    assert view.last["step"] == 1
    # Two stages of 6.5 Wh and 2.75 g, and what the one under way has spent.
    assert view.energy_wh == pytest.approx(15.0)
    assert view.co2_g == pytest.approx(6.5)
    assert not view.is_finished


def test_a_folder_of_other_stages_shows_those_alone(tmp_path: Path) -> None:
    begin(tmp_path / "run" / "07-full-4k-s0", line(0))
    view = RunFollower(tmp_path / "run", STAGES).look()
    assert [stage.name for stage in view.stages] == ["07-full-4k-s0"]


def test_what_follows_from_something_made_again_is_out_of_date(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run / "00-inputs", key="new")
    finish(run / "01-tokenizer", {"00-inputs": "old"})
    states = [stage.state for stage in RunFollower(run, STAGES).look().stages]
    assert states[:2] == ["done", "out of date"]


def test_a_run_is_finished_once_its_report_is_newer_than_its_stages(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run / "00-inputs")
    follower = RunFollower(run, STAGES)
    assert not follower.look().is_finished
    report = run / "report.html"
    report.write_text("")
    assert follower.look().is_finished
    os.utime(report, (1, 1))  # of an earlier time
    assert not follower.look().is_finished
    os.utime(report)
    begin(run / "01-tokenizer")
    assert not follower.look().is_finished


def test_silence_is_since_the_newest_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = begin(run / "02-pretrain", line(0))
    (folder / "checkpoints").mkdir()
    then = time.time() - 500
    for path in (folder / "started.json", folder / "metrics.jsonl", folder / "checkpoints"):
        os.utime(path, (then, then))
    follower = RunFollower(run, STAGES)
    assert follower.look().silent_seconds == pytest.approx(500, abs=5)
    (folder / "checkpoints" / "state.json").write_text("")
    assert follower.look().silent_seconds == pytest.approx(0, abs=5)


def test_the_follower_goes_on_to_the_next_stage(tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(run / "02-pretrain", line(0, 5.0))
    follower = RunFollower(run, STAGES)
    assert follower.look().series == {"loss": [5.0]}
    finish(run / "02-pretrain")
    begin(run / "03-sft", line(0, 3.0))
    assert follower.look().series == {"loss": [3.0]}
