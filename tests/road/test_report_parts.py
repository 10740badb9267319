"""The parts of the report: reading a folder, wording numbers, drawings, the order of blocks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from arriero.records import UserError
from arriero.road.report import wording
from arriero.road.report.blocks import Bar, Bars, Facts, Figure, Section, Segment
from arriero.road.report.drawing import (
    Curve,
    draw_curves,
    draw_histograms,
    draw_intervals,
    draw_path,
    draw_ridges,
    smoothed,
)
from arriero.road.report.folder import number, read_run
from arriero.road.report.outcome import label_roles
from arriero.road.report.pretraining import rate_figure
from arriero.road.report.samples import in_turn, read_samples, tone

from .synthetic_run import Results, write_stage


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.percent(0.8634), "86.3%"),
        (wording.percent(None), "–"),
        (wording.percent(-0.05), "−5.0%"),
        (wording.interval(0.841, 0.883), "84.1–88.3%"),
        (wording.interval(0.841, None), ""),
        (wording.count(1234), "1,234"),
        (wording.count(1_734_912), "1.73 M"),
        (wording.count(6_738_415_616), "6.74 B"),
        (wording.decimal(0.012345), "0.0123"),
        (wording.decimal(1234.5), "1,234"),
        (wording.decimal(-2.871), "−2.87"),
        (wording.decimal(0.00000264), "2.6 × 10⁻⁶"),
        (wording.decimal(0.0), "0"),
        (wording.duration(2.94), "2.9 s"),
        (wording.duration(59.7), "1 min 0 s"),
        (wording.duration(75), "1 min 15 s"),
        (wording.duration(7300), "2 h 2 min"),
        (wording.energy(14.93), "14.9 Wh"),
        (wording.energy(15_000), "15 kWh"),
        (wording.energy(0.0524), "52.4 mWh"),
        (wording.carbon(31_220_000), "31.2 t"),
        (wording.carbon(6.32), "6.32 g"),
    ],
)
def test_numbers_in_words(shown: str, expected: str) -> None:
    assert shown == expected


def test_only_finite_numbers_are_numbers() -> None:
    assert number(3) == 3.0
    assert [number(x) for x in (True, "3", None, float("nan"), float("inf"), 10**400)] == [None] * 6


def test_a_stage_folder_s_name_says_what_it_is(tmp_path: Path) -> None:
    for name in ("05-reward-safety-v2", "03-sft", "notes", "05-reward.tmp", "10-ppo-v1"):
        (tmp_path / name).mkdir()
    sft, reward, ppo = read_run(tmp_path).stages
    assert (reward.number, reward.kind, reward.name, reward.version) == (5, "reward", "safety", 2)
    assert (sft.kind, sft.name, sft.version) == ("sft", "", None)
    assert (reward.label, reward.short_label, ppo.label) == (
        "reward safety v2",
        "safety v2",
        "ppo v1",
    )


def test_resumed_steps_count_once_and_a_half_written_line_not_at_all(tmp_path: Path) -> None:
    steps = [(1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, 3.5)]
    metrics = [{"step": step, "loss": loss, "elapsed_s": 10.0 * step} for step, loss in steps]
    folder = write_stage(tmp_path, "02-pretrain", None, {}, metrics)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    (stage,) = read_run(tmp_path).stages
    assert stage.series("step", "loss") == ([1, 2, 3], [5.0, 4.5, 3.5])
    assert not stage.is_finished
    assert stage.seconds == 30.0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path / "missing")
    with pytest.raises(UserError, match="no stage yet"):
        read_run(tmp_path)


def test_smoothing_keeps_a_line_and_takes_the_mean_of_neighbours() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)
    assert smoothed([0.0, 3.0, 0.0, 6.0, 6.0]) == pytest.approx([1.0, 2.25, 3.0, 3.75, 4.0])


def test_a_drawing_is_inline_in_our_colours_and_keeps_names_as_text() -> None:
    name = "<b>$x$ & 50%</b>"
    drawn = draw_curves([Curve([1, 2], [3, 4], name, "green")], x=name)
    assert drawn.startswith('<svg viewBox="0 0 ')
    assert " width=" not in drawn.split(">")[0]
    assert drawn.count("&lt;b&gt;$x$ &amp; 50%&lt;/b&gt;") == 2
    assert "var(--green)" in drawn
    assert "#0a00" not in drawn
    assert drawn == draw_curves([Curve([1, 2], [3, 4], name, "green")], x=name)


def test_two_drawings_share_no_ids() -> None:
    one, two = (draw_curves([Curve([1, 2], [3, y])], x="x") for y in (4, 5))
    ids = [re.findall(r' id="([^"]+)"', drawn) for drawn in (one, two)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for drawn, own in zip((one, two), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", drawn)) <= set(own)


def test_drawings_cope_with_a_single_point_no_interval_and_odd_names() -> None:
    assert "svg" in draw_intervals(
        ["a", "_b", ""], {"": [(0.5, None, None), None, (0.2, 0.1, 0.3)]}, roles=["blue"], x="x"
    )
    assert "svg" in draw_path({"sft": (0.5, 0.5)}, roles=["blue"], x="x", y="y")
    assert "svg" in draw_ridges([0, 1, 2], {"見": [0, 0]}, roles=["blue"], x="x")
    assert "svg" in draw_histograms([0, 1, 2], {"chosen": [0, 0]}, roles=["blue"], x="x")
    assert "svg" in draw_histograms([0, 1], {"chosen": [0]}, roles=["blue"], x="x", is_log=True)
    assert "svg" in draw_curves([Curve([3], [1.0])], x="x")


def test_names_of_near_points_on_the_path_stand_apart() -> None:
    near = {"rejection-v1": (0.8, 0.9), "ppo-v1": (0.805, 0.905), "sft": (0.4, 0.3)}
    drawn = draw_path(near, roles=["blue", "green", "amber"], x="x", y="y")
    places = re.findall(r"translate\(([\d.]+) ([\d.]+)\)[^>]*>(rejection-v1|ppo-v1)<", drawn)
    if not places:
        places = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>(rejection-v1|ppo-v1)<', drawn)
    (_, first, _), (_, second, _) = places
    assert abs(float(first) - float(second)) > 10


def test_blocks_pair_up_and_lone_ones_take_the_width() -> None:
    figure = Figure(title="", svg=Markup(""), look="")
    bars = Bars(title="", bars=[Bar("", [Segment("a", 1, "blue")])], look="")
    facts = Facts([("a", "1")])
    section = Section("id", "title", "", [facts, figure, bars, figure, facts, figure])
    assert [is_wide for _, is_wide in section.layout] == [True, False, False, True, True, True]


def test_samples_of_every_stage_are_understood() -> None:
    (pretrain, rejection, dialog) = read_samples(
        [
            {"prompt": "In the month", "text": "of rain"},
            {"prompt": "Hi", "best": "a", "best_score": 3.214, "worst": "b"},
            {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}
            | {"answer": "x", "rating": "slightly_better"},
            {"prompt": "no answer"},
            "no sample",
        ]
    )
    assert pretrain.prompt == [("beginning", "In the month")]
    assert [(a.who, a.text) for a in rejection.answers] == [("best", "a"), ("worst", "b")]
    assert rejection.answers[0].badges == [("reward 3.21", "plain")]
    assert dialog.prompt == [("system", "s"), ("user", "u")]
    assert dialog.tags == ["slightly better"]


def test_the_first_samples_show_every_kind() -> None:
    items = [{"prompt": str(n), "answer": "a", "track": t} for n, t in enumerate("aaabbc")]
    shown = in_turn(read_samples(items))
    assert [sample.prompt[0][1] for sample in shown] == ["0", "3", "5", "1", "4", "2"]


def test_versions_in_one_corner_of_the_path_are_joined_by_arrows() -> None:
    points = {"sft": (0.501, 0.601), "rejection-v1": (0.503, 0.6036), "ppo-v1": (0.503, 0.6036)}
    drawn = draw_path(points, roles=["blue", "green", "amber"], x="x", y="y")
    one_arrow = draw_path(dict(list(points.items())[:2]), roles=["blue", "green"], x="x", y="y")
    alone = draw_path({"sft": (0.501, 0.601)}, roles=["blue"], x="x", y="y")
    num_strokes = [svg.count("stroke: var(--soft)") for svg in (alone, one_arrow, drawn)]
    assert num_strokes[0] == 0
    assert num_strokes[1] == num_strokes[2] > 0  # none between two that coincide


def test_labels_get_a_tone_and_a_colour_each() -> None:
    tones = {"helpful": "good", "safe": "good", "half_safe": "fair", "refusal": "fair"}
    tones |= {"harmful": "bad", "off_topic": "bad", "unhelpful": "fair", "zorb": "plain"}
    assert {label: tone(label) for label in tones} == tones
    roles = label_roles(["curt", "harmful", "helpful", "long", "plain", "refusal", "wrong"])
    assert len(set(roles.values())) == 7
    assert next(iter(roles)) == "helpful"
    assert roles["harmful"] == "vermilion"
    assert list(roles)[-2:] == ["harmful", "wrong"]


def test_a_legend_stands_in_the_order_of_the_fullest_bar() -> None:
    good, bad = Segment("good", 0.3, "blue"), Segment("bad", 0.3, "red")
    other = Segment("?", 0.3, "grey")
    bars = [Bar("base", [bad, other]), Bar("sft", [good, bad, other])]
    assert Bars(title="", bars=bars, look="").legend == [
        ("good", "blue"),
        ("bad", "red"),
        ("?", "grey"),
    ]


def test_the_fixture_is_json_like_a_stage_writes(tmp_path: Path) -> None:
    folder = write_stage(tmp_path, "03-sft", 3600.0, {"dialogs": 3}, [])
    manifest = json.loads((folder / "manifest.json").read_text())
    # The paper's formula: 1 h at 65 W and 0.4235 g/Wh.
    assert manifest["energy_wh"] == pytest.approx(65.0)
    assert manifest["co2_g"] == pytest.approx(27.5275)


def test_the_learning_rate_of_a_run_that_ends_in_its_warm_up(tmp_path: Path) -> None:
    """It stands at its highest: there is no fall to tell of."""
    rates = {"rising": [0.1, 0.2, 0.3], "whole": [0.1, 0.4, 0.2, 0.04]}
    looks = {}
    for name, values in rates.items():
        run = tmp_path / name
        run.mkdir()
        lines: list[Results] = [{"step": step, "lr": rate} for step, rate in enumerate(values)]
        write_stage(run, "02-pretrain", 1.0, {"parameters": 1}, lines)
        [stage] = read_run(run).stages
        figure = rate_figure(stage)
        assert figure is not None
        looks[name] = figure.look
    assert looks["rising"].endswith("where this run ended: it is no longer than the warm-up.")
    assert looks["whole"] == "A short climb to 0.4, then half a cosine down to 10% of it."


def test_a_short_legend_stands_in_one_line() -> None:
    assert len(legend_places(["none", "large"])) == 2


def test_a_legend_of_long_names_stays_inside_the_figure() -> None:
    """Beside long names of rows two labels of 25 letters have no room in one line."""
    assert len(legend_places(["05-reward-helpfulness-v1", "06-reward-safety-model"])) == 1


def legend_places(names: list[str]) -> set[str]:
    """Where the labels of a legend begin, left to right."""
    values = [(0.5, 0.4, 0.6)] * 2
    svg = draw_intervals(
        ["significantly better", "b"],
        dict.fromkeys(names, values),
        roles=("blue", "amber"),
        x="share",
    )
    return {
        place
        for place, text in re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>([^<]*)</text>', svg)
        if text in names
    }


def test_a_logarithmic_histogram_shows_few_of_many() -> None:
    def top(is_log: bool) -> list[str]:
        svg = draw_histograms([0, 1, 2], {"a": [1998, 2]}, roles=["blue"], x="x", is_log=is_log)
        return re.findall(r">([\d.]+%)<", svg)

    assert "0.1%" in top(is_log=True)
    assert "0.1%" not in top(is_log=False)
