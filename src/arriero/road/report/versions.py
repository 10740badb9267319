"""Report section of the versions against one another: paths, rewards, wins, the price paid."""

from __future__ import annotations

from arriero.road.report.blocks import Bar, Bars, Block, Cell, Figure, Section, Segment, Table
from arriero.road.report.drawing import Interval, draw_intervals, draw_path, draw_ridges
from arriero.road.report.evaluation import Evaluation
from arriero.road.report.folder import Json, mapping, mappings, number, numbers, text
from arriero.road.report.outside_judge import JUDGES, judge_facts, outside_path, outside_tables
from arriero.road.report.pretraining import add_facts
from arriero.road.report.wording import count, decimal, interval, percent, plain


def versions_section(evaluation: Evaluation) -> Section | None:
    """The path (Figure 11), reward distributions (Figure 20), comparisons, perplexity."""
    blocks: list[Block] = [*_paths(evaluation), *outside_path(evaluation)]
    blocks += _distributions(evaluation)
    blocks += _wins(evaluation)
    blocks += outside_tables(evaluation)
    for title, key, x, look in _PAIRED:
        if (paired := _paired(evaluation, title, key, x, look)) is not None:
            blocks.append(paired)
    if (table := capabilities_table(evaluation)) is not None:
        blocks.append(table)
    add_facts(blocks, _together(evaluation))
    agreement = _agreement(evaluation)
    if agreement is not None:
        blocks.append(agreement)
    facts = _perplexity(evaluation)
    if facts is not None:
        blocks.append(facts)
    others = ["an outside judge"] if judge_facts(evaluation) else []
    others += ["the oracle"] if evaluation.results.get("has_oracle") else []
    lead = "Every version answers the same unseen prompts; judged by the reward models"
    lead += f" and by {' and by '.join(others)}." if others else "."
    return Section("versions", "From version to version", lead, blocks) if blocks else None


# Title, key of the results, axis, what to look for.
_PAIRED = (
    (
        "Paired differences, by the oracle",
        "paired",
        "difference in quality",
        "The oracle's grade, first version minus second on the same prompts. An interval right of "
        "zero is a gain, one that touches zero settles nothing.",
    ),
    (
        "Paired differences, by the last reward models",
        "paired_rewards",
        "difference in raw score",
        "All versions scored by the same, last reward models. No version should lie left of zero "
        "against the one before it.",
    ),
)
_MANY_VERSIONS = 3


def _paths(evaluation: Evaluation) -> list[Figure]:
    figures: list[Figure] = []
    for prefix, judge in (("", "our reward models"), ("oracle_", "the oracle")):
        points = _points(evaluation, prefix)
        if not points:
            continue
        figures.append(
            Figure(
                title=f"The path, by {judge}",
                svg=draw_path(
                    points,
                    roles=[evaluation.role(version) for version in points],
                    x="helpfulness",
                    y="safety",
                ),
                look="Up and to the right is better on both axes. "
                + (
                    "The truth that no stage has seen: it should tell the same story."
                    if prefix
                    else "Measured by the models that did the training: they flatter."
                ),
                paper="Figure 11",
            )
        )
    return figures


def _points(evaluation: Evaluation, prefix: str) -> dict[str, tuple[float, float]]:
    path = mapping(evaluation.results.get("path"))
    points: dict[str, tuple[float, float]] = {}
    for version in evaluation.versions:
        entry = mapping(path.get(version))
        helpfulness = number(entry.get(f"{prefix}helpfulness"))
        safety = number(entry.get(f"{prefix}safety"))
        if helpfulness is not None and safety is not None:
            points[version] = (helpfulness, safety)
    return points


def _distributions(evaluation: Evaluation) -> list[Figure]:
    figures: list[Figure] = []
    for name, histogram in mapping(evaluation.results.get("reward_distributions")).items():
        histogram = mapping(histogram)
        edges = numbers(histogram.get("edges"))
        counts = {
            version: values
            for version in evaluation.versions
            if len(values := numbers(histogram.get(version))) == len(edges) - 1 and values
        }
        if not counts:
            continue
        figures.append(
            Figure(
                title=f"Rewards by version, {plain(name)}",
                svg=draw_ridges(
                    edges,
                    counts,
                    roles=[evaluation.role(version) for version in counts],
                    x="probability" if edges[0] >= 0 and edges[-1] <= 1 else "score",
                ),
                look="From version to version the scores should move to the right and the left "
                "tail should thin out. The line is the mean.",
                paper="Figure 20",
            )
        )
    return figures


def _wins(evaluation: Evaluation) -> list[Bars]:
    judges: dict[str, list[Bar]] = {}
    for entry in _of_interest(evaluation, evaluation.results.get("wins")):
        outcome = [number(entry.get(key)) or 0.0 for key in ("wins", "ties", "losses")]
        total = sum(outcome)
        if total <= 0:
            continue
        names = ("win", "tie", "loss")
        segments = [
            Segment(name, part / total, role)
            for name, part, role in zip(names, outcome, ("blue", "grey", "vermilion"), strict=True)
        ]
        a, b, set_name = (text(entry.get(key)) for key in ("a", "b", "set"))
        label = f"{a} against {b}" + (f", {set_name} prompts" if set_name else "")
        judges.setdefault(text(entry.get("judge")) or "unknown", []).append(
            Bar(label, segments, _win_note(entry, total))
        )
    return [
        Bars(
            title=f"Win, tie, loss, by {JUDGES.get(judge, judge)}",
            bars=bars,
            look="Share = wins / (wins + losses), with its 95% interval; 50% would be a draw.",
            paper="Figure 12 and section 3.4",
        )
        for judge, bars in sorted(judges.items())
    ]


def _by_pair(value: object) -> list[Json]:
    """Comparisons with the sets of each pair of versions together, all prompts first."""
    entries = mappings(value)
    pairs = [(text(entry.get("a")), text(entry.get("b"))) for entry in entries]
    numbered = sorted(
        zip(pairs, entries, strict=True),
        key=lambda item: (pairs.index(item[0]), item[1].get("set") != "all"),
    )
    return [entry for _, entry in numbered]


def _win_note(entry: Json, total: float) -> str:
    share, low, high = (number(entry.get(key)) for key in ("share", "low", "high"))
    if share is None:
        return f"{count(total)} pairs"
    bounds = "" if low is None or high is None else f" ({100 * low:.1f}–{100 * high:.1f})"
    skipped = number(entry.get("skipped"))
    more = f", {count(skipped)} skipped" if skipped else ""
    return f"share {percent(share)}{bounds} of {count(total)}{more}"


def _paired(evaluation: Evaluation, title: str, key: str, x: str, look: str) -> Figure | None:
    rows: list[str] = []
    values: list[Interval | None] = []
    for entry in _of_interest(evaluation, evaluation.results.get(key)):
        difference = number(entry.get("difference"))
        if difference is None:
            continue
        rows.append(
            f"{text(entry.get('a'))} − {text(entry.get('b'))}\n{text(entry.get('set'))} prompts"
        )
        values.append((difference, number(entry.get("low")), number(entry.get("high"))))
    if not rows:
        return None
    return Figure(
        title=title,
        svg=draw_intervals(
            rows, {"": values}, roles=["blue"], x=x, reference=0.0, is_percent=False
        ),
        look=look,
    )


def _of_interest(evaluation: Evaluation, value: object) -> list[Json]:
    """All comparisons; of many versions those on all prompts, and every set for the newest."""
    entries = _by_pair(value)
    tuned = [version for version in evaluation.versions if version != "base"]
    if len(tuned) <= _MANY_VERSIONS:
        return entries
    baseline = evaluation.results.get("baseline")
    return [
        entry
        for entry in entries
        if entry.get("set") == "all" or (entry.get("a"), entry.get("b")) == (tuned[-1], baseline)
    ]


def capabilities_table(evaluation: Evaluation) -> Table | None:
    """What each version can do, category by category; what it lost is marked."""
    found = mapping(evaluation.results.get("capabilities"))
    by_category = mapping(found.get("by_category"))
    tuned = [version for version in evaluation.versions if version != "base"]
    if not by_category or len(tuned) < 2:
        return None
    lost = {
        (text(e.get("category")), text(e.get("version"))) for e in mappings(found.get("losses"))
    }
    prompts = mapping(found.get("prompts"))
    rows: list[list[str | Cell]] = []
    for category, by_version in by_category.items():
        cells = [
            _capability(number(mapping(by_version).get(v)), (category, v) in lost) for v in tuned
        ]
        rows.append([category, count(number(prompts.get(category))), *cells])
    is_right = found.get("measure") == "right"
    what = "The share of right answers" if is_right else "The helpfulness model's mean"
    return Table(
        title="What each version can do",
        head=["category", "prompts", *tuned],
        rows=rows,
        look=f"{what} by category: forgetting shows here before it shows in any mean. Lost: lower "
        "than the version before by more than the paired 95% interval.",
        paper="section 3.2.3",
        is_wide=True,
    )


def _capability(value: float | None, is_lost: bool) -> Cell:
    return Cell(percent(value), "lost" if is_lost else "", value)


def _together(evaluation: Evaluation) -> list[tuple[str, str]]:
    """How far reward models and oracle agree on an order."""
    found = mapping(evaluation.results.get("moves_together"))
    return [
        ("rank correlation of reward and oracle, answers", decimal(number(found.get("answers")))),
        ("over the versions' means", decimal(number(found.get("versions")))),
    ]


def _agreement(evaluation: Evaluation) -> Table | None:
    models = mapping(evaluation.results.get("reward_models"))
    rows: list[list[str | Cell]] = []
    for name, entry in models.items():
        entry = mapping(entry)
        agreement = number(entry.get("oracle_agreement"))
        bounds = interval(number(entry.get("low")), number(entry.get("high")))
        rows.append(
            [
                plain(name),
                Cell(percent(agreement), bounds if agreement is not None else ""),
                percent(number(entry.get("annotator_agreement"))),
                percent(number(entry.get("target"))),
                count(number(entry.get("n"))),
            ]
        )
    if not rows:
        return None
    return Table(
        title="Do the reward models know better than their teachers?",
        head=["reward model", "agrees with the oracle", "annotators do", "target", "pairs"],
        rows=rows,
        look="On unseen pairs. The target is 90% of the way from chance to the annotators' own "
        "agreement with the oracle.",
    )


def _perplexity(evaluation: Evaluation) -> Table | None:
    perplexity = mapping(evaluation.results.get("perplexity"))
    lengths = mapping(evaluation.results.get("length"))
    rows: list[list[str | Cell]] = [
        [version, decimal(number(perplexity.get(version))), decimal(number(lengths.get(version)))]
        for version in evaluation.versions
        if version in perplexity or version in lengths
    ]
    if not rows:
        return None
    return Table(
        title="Perplexity and length",
        head=["version", "perplexity", "tokens an answer"],
        rows=rows,
        look="Perplexity on held-out text: the price of alignment. Answers that grow without "
        "getting better are a sign of a gamed reward.",
    )
