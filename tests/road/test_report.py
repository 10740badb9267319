"""The report as a page: what it shows, what it escapes, what it survives."""

from __future__ import annotations

import json
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from arriero.records import UserError
from arriero.road.report import drawing, write_report

from .synthetic_run import build_run, outside_judge, wins_by

_VOID = {"meta", "link", "br", "wbr", "path", "use"}
_SCRIPT = "<script>alert(1)</script>"


class _Reader(HTMLParser):
    """Collects tags, attributes and visible text; fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


@pytest.fixture
def quick_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws all there is to draw, but doesn't lay it out nor write it: a hundred times faster."""

    def draw_only(draw: Any, size: tuple[float, float]) -> Markup:
        draw(Figure(figsize=size).add_subplot())
        return Markup("<svg></svg>")

    monkeypatch.setattr(drawing, "render_svg", draw_only)


def test_the_page_shows_every_stage_and_the_paper_s_figures(page: str) -> None:
    text = _Reader(page).text
    for wanted in (
        *("Table 2", "Tables 6 and 26", "Table 7", "Table 8", "Equation 2"),
        *("Figure 5", "Figure 7", "Figure 8", "Figure 11", "Figure 20", "Figure 12", "Figure 33"),
        *("Tokenizer", "Pretraining", "Supervised fine-tuning", "Preference data"),
        *("Reward models", "Rejection sampling", "Proximal policy optimization"),
        *("The path, by our reward models", "The path, by the oracle", "Sample dialogues"),
        *("Violations, adversarial prompts", "False refusals, borderline prompts"),
        *("Kinds of answers, ordinary prompts", "Perplexity and length", "Time, energy, carbon"),
    ):
        assert wanted in text


def test_the_page_shows_the_numbers_of_the_run(page: str) -> None:
    text = _Reader(page).text
    for wanted in (
        "recipe tiny seed 0 time 13 min 47 s energy 14.9 Wh at an assumed 65 W CO₂eq 6.32 g",
        "Right answers higher is better 87.4%",
        "Violations lower is better 11.8%",
        "False refusals lower is better 6.2%",
        "Wins against sft higher is better 70.7% ppo-v1, all prompts, by the oracle",
        "helpfulness 800 79.0% 76.0–82.0% 64.0% 61.0–67.0%",
        "share 68.3% (64.6–72.0) of 1,000",
        "pretrain 4 min 31 s 4.89 Wh 2.1 × 10⁻⁶",
        "all stages 13 min 47 s 14.9 Wh 6.3 × 10⁻⁶",
        "1.73 M",
        "reward −2.87",
    ):
        assert wanted in text


def test_the_page_needs_nothing_else(page: str) -> None:
    reader = _Reader(page)
    assert not reader.tags & {"script", "img", "iframe", "object", "embed", "base", "form"}
    assert not reader.values("src", "srcset", "xlink:href", "action", "onclick", "onload")
    assert "@import" not in page
    for address in [*reader.values("href"), *re.findall(r"url\(([^)]*)\)", page)]:
        assert address.startswith("#") or address == "data:,"


def test_ids_are_unique_and_every_link_and_colour_leads_somewhere(page: str) -> None:
    reader = _Reader(page)
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in reader.values("href") if address[0] == "#"} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    used = set(re.findall(r"var\((--[a-z-]+)", page))
    assert used <= set(re.findall(r"(--[a-z-]+):", page))


def test_the_same_run_gives_the_same_bytes_and_leaves_no_draft(run: Path, page: str) -> None:
    assert write_report(run) == run / "report.html"
    assert (run / "report.html").read_text(encoding="utf-8") == page
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_figure_too_many_does_not_say_what_is_not_so(page: str) -> None:
    # The stage writes every rate for every set; only those that mean something are shown.
    text = _Reader(page).text
    assert "Violations, ordinary prompts" not in text
    assert "False refusals, adversarial prompts" not in text


def _hostile(value: Any, key: str = "") -> Any:
    """Every text of the results, and every name that data gives, with a script in it."""
    match value:
        case str() if key not in ("judge", "name"):
            return f"{value}{_SCRIPT}\x1b\x00\ud800\u202e"
        case list():
            return [_hostile(item) for item in value]
        case dict():
            return {name: _hostile(item, name) for name, item in value.items()}
    return value


@pytest.mark.usefixtures("quick_drawings")
def test_hostile_text_is_escaped_wherever_it_stands(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    for path in run.glob("*/results.json"):
        results = _hostile(json.loads(path.read_text()))
        text = json.dumps(results)
        for name in ("sft", "ordinary", "helpfulness", "safety", "open", "mix", "curt"):
            text = text.replace(f'"{name}"', json.dumps(name + _SCRIPT + "\"'&"))
        path.write_text(text)
    (run / "recipe.toml").write_text(f'name = "{_SCRIPT}"\n')
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") > 100
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert "script" not in _Reader(page).tags


def test_hostile_names_are_escaped_in_drawings_too(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    path = run / "09-evaluate" / "results.json"
    path.write_text(path.read_text().replace('"sft"', json.dumps(f"$sft{_SCRIPT}$")))
    for folder in run.glob("0[0-8]*"):
        shutil.rmtree(folder)
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("$sft&lt;script&gt;alert(1)") > 8


@pytest.mark.usefixtures("quick_drawings")
def test_every_stage_alone_and_every_beginning_of_the_road_give_a_report(tmp_path: Path) -> None:
    whole = build_run(tmp_path / "whole")
    folders = sorted(whole.glob("0*"))
    for index, folder in enumerate(folders):
        alone, begun = tmp_path / f"alone-{index}", tmp_path / f"begun-{index}"
        shutil.copytree(folder, alone / folder.name)
        for earlier in folders[: index + 1]:
            shutil.copytree(earlier, begun / earlier.name)
        # The last one of these was killed before its results were written.
        (begun / folder.name / "manifest.json").unlink()
        (begun / folder.name / "results.json").unlink(missing_ok=True)
        for run in (alone, begun):
            _Reader(write_report(run).read_text(encoding="utf-8"))
        assert "not finished" in (begun / "report.html").read_text(encoding="utf-8")


def _damaged(value: Any, chance: random.Random) -> Any:
    """Some values gone, some of another type."""
    if chance.random() < 0.06:
        return chance.choice([None, "x", -3, [], {}, True, float("nan"), [None, "y", {}], 1e12])
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if chance.random() > 0.06}
        return {name: _damaged(item, chance) for name, item in kept.items()}
    if isinstance(value, list):
        return [_damaged(item, chance) for item in value if chance.random() > 0.03]
    return value


@pytest.mark.usefixtures("quick_drawings")
@pytest.mark.parametrize("seed", range(12))
def test_any_missing_or_odd_value_still_gives_a_report(seed: int, tmp_path: Path) -> None:
    run = build_run(tmp_path, has_oracle=seed % 3 > 0)
    chance = random.Random(seed)
    for path in [*run.glob("*/results.json"), *run.glob("*/manifest.json")]:
        path.write_text(json.dumps(_damaged(json.loads(path.read_text()), chance)))
    for path in run.glob("*/metrics.jsonl"):
        lines = path.read_text().splitlines()[::20]
        path.write_text("\n".join(json.dumps(_damaged(json.loads(x), chance)) for x in lines))
    _Reader(write_report(run).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("quick_drawings")
def test_without_an_oracle_the_reward_models_give_the_big_numbers(tmp_path: Path) -> None:
    run = build_run(tmp_path, has_oracle=False)
    text = _Reader(write_report(run).read_text(encoding="utf-8")).text
    assert "Wins against sft higher is better 70.7% ppo-v1, all prompts, by our reward" in text
    assert "Mean helpfulness higher is better 73.1%" in text
    assert "by the oracle" not in text
    assert "base 5.26 38.1" in text  # the base model has a perplexity, and no other figure


@pytest.mark.usefixtures("quick_drawings")
def test_an_outside_judge_stands_beside_the_others(run: Path, page: str, tmp_path: Path) -> None:
    text = _Reader(page).text
    for wanted in (
        "judged by the reward models and by an outside judge and by the oracle.",
        "The path, by the outside judge",
        "Figure 11, right",
        "Win, tie, loss, by the outside judge",
        "model some-judge-7b",
        "one way in each order: a tie 97 15.0%",
        "said A 54.9%",
        "skipped: named neither A nor B 5",
        "the outside judge and our reward models 71.2% 68.2–74.2% 551",
        "the outside judge and the oracle 80.4% 77.4–83.4% 551",
        "our reward models and the oracle 76.6%",
    ):
        assert wanted in text, wanted
    assert "It stopped on the way" not in text
    other = build_run(tmp_path, has_oracle=False)
    assert "outside judge" not in _Reader(write_report(other).read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("quick_drawings")
@pytest.mark.parametrize("error", ["", "http://127.0.0.1:1/v1: nobody answers"])
def test_an_outside_judge_where_there_is_no_oracle(tmp_path: Path, error: str) -> None:
    """Its wins are the big number, but not those of one that stopped; that is said."""
    run = build_run(tmp_path, has_oracle=False)
    path = run / "09-evaluate" / "results.json"
    results = json.loads(path.read_text())
    results |= {"wins": results["wins"] + wins_by("outside"), "judge": outside_judge(error=error)}
    path.write_text(json.dumps(results))
    text = _Reader(write_report(run).read_text(encoding="utf-8")).text
    judge = "our reward models" if error else "the outside judge"
    assert f"Wins against sft higher is better 70.7% ppo-v1, all prompts, by {judge}" in text
    assert ("It stopped on the way (http://127.0.0.1:1/v1: nobody answers). What" in text) == bool(
        error
    )
    assert ("not asked any more 245" in text) == bool(error)


@pytest.mark.usefixtures("quick_drawings")
def test_an_outside_judge_who_said_nothing(tmp_path: Path) -> None:
    run = build_run(tmp_path, has_oracle=False)
    path = run / "09-evaluate" / "results.json"
    empty = {"model": "m", "num_judged": 0, "letters": {}, "path": {}, "agreement": []}
    results = json.loads(path.read_text())
    decided_none = {
        "judge": "outside",
        "wins": 0,
        "losses": 0,
        "share": 0.5,
        "low": 0.0,
        "high": 1.0,
    }
    results["wins"] += [row | decided_none for row in results["wins"] if row["judge"] == "reward"]
    path.write_text(json.dumps(results | {"judge": empty}))
    text = _Reader(write_report(run).read_text(encoding="utf-8")).text
    assert "by the outside judge" not in text.split("Tokenizer")[0], (
        "no headline of half of nothing"
    )
    assert "by an outside judge" not in text.split("can and cannot do")[-1]
    assert "judged 0" in text
    assert "said A –" in text


def test_files_that_are_no_json_are_left_out(tmp_path: Path) -> None:
    run = build_run(tmp_path)
    (run / "03-sft" / "results.json").write_bytes(b"\xff\xfe{not json")
    (run / "02-pretrain" / "metrics.jsonl").write_bytes(b"\x00\xff\n[1]\n{}\n")
    (run / "recipe.toml").write_text("= no toml")
    assert "Supervised fine-tuning" in write_report(run).read_text(encoding="utf-8")


def test_a_folder_without_stages_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no stage yet"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
