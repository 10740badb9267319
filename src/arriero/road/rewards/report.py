"""The page of `arriero evaluate-rewards`, in the manner of a run's report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arriero.road.report.blocks import Block, Section, Table, Tile, TileRow
from arriero.road.report.drawing import SERIES
from arriero.road.report.folder import RunFolder
from arriero.road.report.page import render_page, write_page
from arriero.road.report.wording import count, interval, percent
from arriero.road.rewards.accuracy_section import TRIVIAL_ROLE, accuracy_blocks
from arriero.road.rewards.response_section import calibration_blocks, detection_blocks, grade_blocks

Json = Mapping[str, Any]


def write_rewards_report(out: Path, results: Json) -> Path:
    """Write `report.html` into a folder; returns its path.

    Args:
        results: what stands in results.json.
    """
    roles = {
        name: TRIVIAL_ROLE if facts["kind"] == "trivial" else SERIES[place % len(SERIES)]
        for place, (name, facts) in enumerate(_trivial_last(results["scorers"]))
    }
    sections = [
        Section(f"set-{number}", name, _lead(figures), _blocks(figures, roles))
        for number, (name, figures) in enumerate(results["sets"].items(), 1)
    ]
    page = render_page(
        RunFolder(out.resolve().name, {}, "", ()),
        about="evaluation of reward models",
        facts=[
            ("scorers", str(len(results["scorers"]))),
            ("test sets", str(len(results["sets"]))),
        ],
        milestones=[],
        tiles=[_tile(name, figures, roles) for name, figures in _of_pairs(results)],
        sections=[*sections, _scorers_section(results["scorers"])],
    )
    return write_page(out / "report.html", page)


def _trivial_last(scorers: Json) -> list[tuple[str, Json]]:
    """So that colours go to those that know something."""
    return sorted(scorers.items(), key=lambda item: item[1]["kind"] == "trivial")


def _of_pairs(results: Json) -> list[tuple[str, Json]]:
    return [(name, each) for name, each in results["sets"].items() if each["kind"] == "pairs"]


def _lead(figures: Json) -> str:
    what = "pairs" if figures["kind"] == "pairs" else "answers that people have graded or labelled"
    dropped = sum(figures["dropped"].values())
    note = f" {dropped:,} rows were of no use." if dropped else ""
    return f"{figures['n']:,} {what}.{note}"


def _blocks(figures: Json, roles: Mapping[str, str]) -> list[Block]:
    blocks: list[Block] = []
    if figures["kind"] == "pairs":
        blocks += accuracy_blocks(figures, roles)
        blocks += calibration_blocks(figures["calibration"], roles)
    else:
        blocks += grade_blocks(figures["grades"], roles)
    return blocks + detection_blocks(figures["detection"], roles)


def _tile(name: str, figures: Json, roles: Mapping[str, str]) -> Tile:
    """Accuracy of all scorers on a set, the best one large."""
    found = {
        scorer: groups["all"]["all"] for scorer, groups in figures["accuracy"].items() if groups
    }
    rows = [
        TileRow(
            scorer,
            percent(entry["accuracy"]),
            roles[scorer],
            entry["accuracy"],
            entry["low"],
            entry["high"],
        )
        for scorer, entry in found.items()
    ]
    if not found:
        return Tile(name, "–", "no pair could be scored", "", rows)
    best = max(found, key=lambda scorer: found[scorer]["accuracy"])
    entry = found[best]
    note = f"{best}, {count(entry['n'])} pairs, {interval(entry['low'], entry['high'])}"
    return Tile(f"Accuracy, {name}", percent(entry["accuracy"]), note, "higher is better", rows)


def _scorers_section(scorers: Json) -> Section:
    rows = [
        [name, facts["kind"], count(sum(facts["skipped"].values())), _notes(facts)]
        for name, facts in scorers.items()
    ]
    table = Table(
        title="Who scored",
        head=["scorer", "kind", "not scored", "notes"],
        rows=rows,
        look="What a scorer could not score is in none of its figures.",
        is_wide=True,
        num_names=2,
    )
    lead = "Length and chance are no skill: a reward model has to beat both."
    return Section("scorers", "Scorers", lead, [table])


def _notes(facts: Json) -> str:
    notes = [f"{reason}: {num:,}" for reason, num in facts["skipped"].items()]
    letters = facts.get("letters")
    if letters:
        said = sum(letters.values())
        notes.append(f"said A {percent(letters.get('A', 0) / said, 0)} of the time")
        notes.append(f"changed its mind with the order on {facts['num_swayed']:,} pairs")
    return "; ".join(notes) or "–"
