"""Blocks of the report on the outside judge: its path, how steady it was, who agrees with it."""

from __future__ import annotations

from collections.abc import Sequence

from arriero.road.report.blocks import Block, Cell, Figure, Table
from arriero.road.report.drawing import draw_path
from arriero.road.report.evaluation import Evaluation
from arriero.road.report.folder import Json, items, mapping, mappings, number, text
from arriero.road.report.wording import MISSING, count, interval, percent

JUDGES = {"oracle": "the oracle", "outside": "the outside judge", "reward": "our reward models"}


def says_nothing(entry: Json) -> bool:
    """Whether an outside judge decided no pair of a row: half of nothing is no figure."""
    return entry.get("judge") == "outside" and not (entry.get("wins", 1) or entry.get("losses", 1))


def judge_facts(evaluation: Evaluation) -> Json:
    """What the results say of the outside judge; empty where none was asked."""
    return mapping(evaluation.results.get("judge"))


def outside_path(evaluation: Evaluation) -> list[Figure]:
    """The versions by their share of wins on both tracks, as Figure 11 has it on its right."""
    path = mapping(judge_facts(evaluation).get("path"))
    points: dict[str, tuple[float, float]] = {}
    for version in evaluation.versions:
        entry = mapping(path.get(version))
        helpfulness, safety = number(entry.get("helpfulness")), number(entry.get("safety"))
        if helpfulness is not None and safety is not None:
            points[version] = (helpfulness, safety)
    if len(points) < 2:
        return []
    tuned = [version for version in evaluation.versions if version != "base"]
    baseline = text(evaluation.results.get("baseline")) or tuned[0]
    return [
        Figure(
            title=f"The path, by {JUDGES['outside']}",
            svg=draw_path(
                points,
                roles=[evaluation.role(version) for version in points],
                x="wins on helpfulness prompts",
                y="wins on safety prompts",
            ),
            look=f"Share of wins against {baseline}, which stands at 50%. This judge taught "
            "nobody: where our reward models see a gain and it sees none, doubt them.",
            paper="Figure 11, right",
        )
    ]


def outside_tables(evaluation: Evaluation) -> list[Block]:
    """What the judge was asked and how it answered, and how far the judges agree."""
    facts = judge_facts(evaluation)
    if not facts:
        return []
    judged = number(facts.get("num_judged"))
    swayed = number(facts.get("num_swayed"))
    rows: list[Sequence[str | Cell]] = [
        ["model", text(facts.get("model")) or MISSING],
        ["pairs of answers", count(number(facts.get("num_pairs")))],
        ["of the same text: a tie, not asked", count(number(facts.get("num_same")))],
        ["different pairs, to ask in both orders", count(number(facts.get("num_asked")))],
        ["judged", count(judged)],
        ["one way in each order: a tie", Cell(count(swayed), _share(swayed, judged))],
        ["said A", _said_a(mapping(facts.get("letters")))],
    ]
    rows += [
        [f"skipped: {reason}", count(number(num))]
        for reason, num in mapping(facts.get("skipped")).items()
    ]
    if number(facts.get("num_left")):
        rows.append(["not asked any more", count(number(facts.get("num_left")))])
    look = "A judge who favours a place says A far from half of the time, and ties for it."
    if error := text(facts.get("error")):
        look = f"It stopped on the way ({error}). What it had judged stands; the rest is missing."
    blocks: list[Block] = [
        Table(
            title="The outside judge",
            head=["asked and answered", ""],
            rows=rows,
            look=look,
            paper="section 3.4.2",
        )
    ]
    if (agreement := _agreement(facts)) is not None:
        blocks.append(agreement)
    return blocks


def _share(part: float | None, whole: float | None) -> str:
    return percent(part / whole) if part is not None and whole else ""


def _said_a(letters: Json) -> str:
    a, b = (number(letters.get(letter)) or 0.0 for letter in "AB")
    return percent(a / (a + b)) if a + b > 0 else MISSING


def _agreement(facts: Json) -> Table | None:
    rows: list[list[str | Cell]] = []
    for entry in mappings(facts.get("agreement")):
        judges = [JUDGES.get(text(name), text(name)) for name in items(entry.get("judges"))]
        bounds = interval(number(entry.get("low")), number(entry.get("high")))
        rows.append(
            [
                " and ".join(judges),
                Cell(percent(number(entry.get("share"))), bounds),
                count(number(entry.get("n"))),
            ]
        )
    if not rows:
        return None
    return Table(
        title="Do the judges agree?",
        head=["judges", "prefer the same answer", "pairs"],
        rows=rows,
        look="Of the pairs that the outside judge and both of a row decide. Chance would be 50%.",
        paper="section 3.4.1",
    )
