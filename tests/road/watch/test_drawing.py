"""What is drawn, as text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from arriero.road.watch.drawing import draw, sparkline
from arriero.road.watch.following import RunView, StageView

LINE = {
    "step": 511,
    "num_steps": 2048,
    "loss": 3.4567,
    "grad_norm": 0.71,
    "tokens": 2048,
    "tokens_per_s": 12345.6,
    "elapsed_s": 130.0,
    "mfu": 0.412,
    "memory_gb": 1.2,
    "memory_peak_gb": 1.4,
    "data_wait_share": 0.003,
    "energy_wh": 12.3,
    "co2_g": 5.2,
    "valid_loss": 3.3333,
}


def text_of(view: RunView, *, ascii_only: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(draw(view, ascii_only=ascii_only))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def under_way() -> RunView:
    return RunView(
        "tiny",
        (
            StageView("00-inputs", "done", 4.2),
            StageView("01-tokenizer", "out of date", 3.0),
            StageView("02-pretrain", "under way"),
            StageView("03-sft", "to come"),
        ),
        last=LINE,
        series={"loss": [9.0, 6.0, 3.4567], "grad_norm": [0.5, 0.71]},
        skipped=2,
        seconds_left=390.0,
        silent_seconds=2.0,
        energy_wh=20.0,
        co2_g=8.4,
    )


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 5, ""),
        ([0.0, 0.0, 5.0, 10.0], 2, "▁█"),
        ([3.0, 3.0, 3.0], 3, "▁▁▁"),
        ([0.0, 7.0, 3.0], 10, "▁█▄"),
        ([float(value) for value in range(8)], 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparklines_by_hand(values: list[float], width: int, drawn: str) -> None:
    assert sparkline(values, width) == drawn


def test_every_value_has_a_part_in_a_sparkline() -> None:
    """One high value among many moves its own part of the line and no other."""
    for at in range(100):
        values = [0.0] * 100
        values[at] = 1.0
        line = sparkline(values, 7)
        assert len(line) == 7
        assert line.count("▁") == 6
        assert line.index("█") == next(k for k in range(7) if at < (k + 1) * 100 // 7)


def test_all_figures_of_a_stage_under_way() -> None:
    shown = text_of(under_way())
    assert [line.rstrip() for line in shown.splitlines() if "━" not in line] == [
        "tiny: 1 of 4 stages done, 20 Wh and 8.4 g CO2eq so far",
        "✓  00-inputs     4.2 s",
        "!  01-tokenizer  made from what has changed since",
        "▶  02-pretrain",
        "·  03-sft",
        "",
        "step 512 of 2,048, 25%, 2 min 10 s spent, 6 min 30 s left",
        "loss           3.457  █▄▁",
        "grad norm      0.71   ▁█",
        "held-out loss  3.333",
        "tokens/s       12,346",
        "MFU            41.2%",
        "memory         1.2 GB, 1.4 GB at most",
        "data wait      0.3%",
        "energy         12.3 Wh, 5.2 g CO2eq",
        "skipped        2 steps",
        "last written to 2.0 s ago",
    ]


def test_terminals_that_know_ascii_alone() -> None:
    shown = text_of(under_way(), ascii_only=True)
    bar_and_all = shown.replace("━", "").replace("╸", "").replace("╺", "")
    assert bar_and_all.isascii(), shown
    assert ">  02-pretrain" in shown


def test_long_silence_says_what_to_do() -> None:
    view = RunView("tiny", (StageView("02-pretrain", "under way"),), silent_seconds=600.0)
    assert "10 min 0 s ago; if it was stopped, the same command goes on" in text_of(view)


def test_figures_that_are_not_there_or_nothing_to_count_with() -> None:
    stages = (StageView("08-ppo-v1", "under way"),)
    assert "loss" not in text_of(RunView("tiny", stages))
    odd = {"step": 3, "num_steps": None, "mfu": "much", "memory_gb": 1.0, "energy_wh": None}
    shown = text_of(RunView("tiny", stages, last=odd, series={"reward": [0.1], "kl": [0.02]}))
    assert "step 4" in shown
    assert "KL" in shown
    assert "MFU" not in shown
    assert "memory" not in shown


def test_nothing_yet_and_finished() -> None:
    assert text_of(RunView("tiny")).strip() == "tiny: nothing has begun yet"
    done = RunView("tiny", (StageView("00-inputs", "done", 1.0),), is_finished=True)
    assert "finished; the report is written" in text_of(done)
