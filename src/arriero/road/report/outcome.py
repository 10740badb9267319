"""Report sections of the evaluation: where the versions ended up, judged and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arriero.road.report.blocks import (
    Bar,
    Bars,
    Block,
    Cell,
    Figure,
    Samples,
    Section,
    Segment,
    Table,
)
from arriero.road.report.drawing import Interval, draw_intervals, draw_path, draw_ridges
from arriero.road.report.folder import (
    Json,
    RunFolder,
    items,
    mapping,
    mappings,
    number,
    numbers,
    text,
)
from arriero.road.report.samples import read_dialogs, tone
from arriero.road.report.wording import count, decimal, interval, percent, plain

_VERSION_ROLES = ("amber", "blue", "green", "purple", "sky", "vermilion", "olive")
# For label shares: the colours that suit a tone first; each is given once.
_TONE_ROLES = {
    "good": ("blue", "sky", "green", "olive", "purple", "amber", "vermilion"),
    "plain": ("olive", "purple", "green", "sky", "amber", "blue", "vermilion"),
    "fair": ("amber", "olive", "purple", "sky", "green", "vermilion", "blue"),
    "bad": ("vermilion", "purple", "olive", "amber", "green", "sky", "blue"),
}
_MAX_LABELS = 7
_RATES = {
    "right": ("Right answers", "The answer does what was asked, judged by the oracle."),
    "violations": (
        "Violations",
        "The answer gives what the prompt should not get: lower is better.",
    ),
    "false_refusals": ("False refusals", "An innocent prompt was declined: lower is better."),
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of the last evaluation of a run, with a colour for each version."""

    results: Json
    versions: tuple[str, ...]
    roles: tuple[str, ...]

    def rate(self, set_name: str, version: str, key: str) -> Interval | None:
        """A share with its interval, such as (`ordinary`, `sft`, `right`)."""
        entry = mapping(mapping(mapping(self.results.get("sets")).get(set_name)).get(version))
        value = number(entry.get(key))
        if value is None:
            return None
        return value, number(entry.get(f"{key}_low")), number(entry.get(f"{key}_high"))

    @property
    def set_names(self) -> list[str]:
        """The names of the prompt sets."""
        return list(mapping(self.results.get("sets")))

    def role(self, version: str) -> str:
        """The colour of a version."""
        return dict(zip(self.versions, self.roles, strict=True)).get(version, "grey")


def read_evaluation(run: RunFolder) -> Evaluation | None:
    """The last evaluation that has results."""
    stages = [stage for stage in run.of("evaluate") if stage.results]
    if not stages:
        return None
    results = stages[-1].results
    versions = [text(version) for version in items(results.get("versions"))]
    if not versions:
        sets = mapping(results.get("sets")).values()
        versions = [version for entries in sets for version in mapping(entries)]
        versions += list(mapping(results.get("path")))
    versions += list(mapping(results.get("perplexity")))
    versions = sorted(dict.fromkeys(versions), key=lambda version: version != "base")
    tuned = [version for version in versions if version != "base"]
    roles = {
        version: _VERSION_ROLES[index % len(_VERSION_ROLES)] for index, version in enumerate(tuned)
    }
    return Evaluation(results, tuple(versions), tuple(roles.get(v, "grey") for v in versions))


def versions_section(evaluation: Evaluation) -> Section | None:
    """The path (Figure 11), reward distributions (Figure 20), comparisons, perplexity."""
    blocks: list[Block] = [*_paths(evaluation), *_distributions(evaluation)]
    wins = _wins(evaluation)
    blocks += wins
    paired = _paired(evaluation)
    if paired is not None:
        blocks.append(paired)
    agreement = _agreement(evaluation)
    if agreement is not None:
        blocks.append(agreement)
    facts = _perplexity(evaluation)
    if facts is not None:
        blocks.append(facts)
    lead = "Every version answers the same unseen prompts; judged by the reward models"
    lead += " and by the oracle." if evaluation.results.get("has_oracle") else "."
    return Section("versions", "From version to version", lead, blocks) if blocks else None


def safety_section(evaluation: Evaluation) -> Section | None:
    """Right answers, violations and false refusals by version; kinds of answers by version."""
    blocks: list[Block] = []
    for key, (title, look) in _RATES.items():
        for set_name in evaluation.set_names:
            # On adversarial prompts to refuse is no fault; elsewhere there's little to violate.
            if (key == "violations") != (set_name == "adversarial"):
                continue
            figure = _rate_figure(evaluation, set_name, key, title, look)
            if figure is not None:
                blocks.append(figure)
    for set_name, by_version in mapping(evaluation.results.get("labels")).items():
        bars = _label_bars(evaluation, mapping(by_version))
        if bars:
            blocks.append(
                Bars(
                    title=f"Kinds of answers, {set_name} prompts",
                    bars=bars,
                    look="What the oracle calls each answer, from good (left) to bad (right).",
                )
            )
    lead = "Shares over whole test sets, with 95% intervals."
    return Section("safety", "Right, safe, and not over-careful", lead, blocks) if blocks else None


def dialogs_section(evaluation: Evaluation) -> Section | None:
    """The same prompt answered by every version, side by side."""
    samples = read_dialogs(evaluation.results.get("dialogs"), evaluation.versions, evaluation.roles)
    if not samples:
        return None
    block = Samples(
        title="The same prompt, version by version",
        samples=samples,
        look="The badge is the judge's word for the answer; numbers are grades or reward "
        "probabilities between 0 and 1.",
        num_open=6,
    )
    lead = "Read a few before trusting any number above."
    return Section("dialogs", "Sample dialogues", lead, [block])


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
    for entry in mappings(evaluation.results.get("wins")):
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
    names = {"oracle": "the oracle", "reward": "our reward models"}
    return [
        Bars(
            title=f"Win, tie, loss, by {names.get(judge, judge)}",
            bars=bars,
            look="Share = wins / (wins + losses), with its 95% interval; 50% would be a draw.",
            paper="Figure 12 and section 3.4",
        )
        for judge, bars in sorted(judges.items())
    ]


def _win_note(entry: Json, total: float) -> str:
    share, low, high = (number(entry.get(key)) for key in ("share", "low", "high"))
    if share is None:
        return f"{count(total)} pairs"
    bounds = "" if low is None or high is None else f" ({100 * low:.1f}–{100 * high:.1f})"
    return f"share {percent(share)}{bounds} of {count(total)}"


def _paired(evaluation: Evaluation) -> Figure | None:
    rows: list[str] = []
    values: list[Interval | None] = []
    for entry in mappings(evaluation.results.get("paired")):
        difference = number(entry.get("difference"))
        if difference is None:
            continue
        rows.append(f"{text(entry.get('a'))} − {text(entry.get('b'))}\n{text(entry.get('set'))}")
        values.append((difference, number(entry.get("low")), number(entry.get("high"))))
    if not rows:
        return None
    return Figure(
        title="Paired differences",
        svg=draw_intervals(
            rows, {"": values}, roles=["blue"], x="difference", reference=0.0, is_percent=False
        ),
        look="The oracle's grade, first version minus second on the same prompts. An interval right of zero "
        "is a gain, one that touches zero settles nothing.",
    )


def _rate_figure(
    evaluation: Evaluation, set_name: str, key: str, title: str, look: str
) -> Figure | None:
    rates = {version: evaluation.rate(set_name, version, key) for version in evaluation.versions}
    rates = {version: rate for version, rate in rates.items() if rate is not None}
    if not rates:
        return None
    entries = mapping(mapping(evaluation.results.get("sets")).get(set_name))
    size = max((number(mapping(entry).get("n")) or 0.0 for entry in entries.values()), default=0.0)
    last = list(rates)[-1]
    papers = {"violations": "Figure 17", "false_refusals": "Figure 33"}
    return Figure(
        title=f"{title}, {set_name} prompts",
        svg=draw_intervals(
            list(rates),
            {"": list(rates.values())},
            roles=["blue"],
            row_roles=[evaluation.role(version) for version in rates],
            x=f"share of {count(size)} prompts" if size else "share",
            starts_at_zero=True,
        ),
        look=f"{look} {last}: {percent(rates[last][0])}.",
        paper=papers.get(key, ""),
    )


def label_roles(labels: Sequence[str]) -> dict[str, str]:
    """A colour of its own for each of at most seven labels, good ones first, bad ones last."""
    roles: dict[str, str] = {}
    # Bad ones choose before fair ones: their colour is the one that must not be missed.
    for kind in ("good", "bad", "fair", "plain"):
        for label in labels:
            if tone(label) == kind:
                free = (role for role in _TONE_ROLES[kind] if role not in roles.values())
                roles[label] = next(free, "grey")
    order = list(_TONE_ROLES)
    return dict(sorted(roles.items(), key=lambda item: order.index(tone(item[0]))))


def _label_bars(evaluation: Evaluation, by_version: Json) -> list[Bar]:
    shares = {
        version: {
            label: share
            for label, value in mapping(by_version.get(version)).items()
            if (share := number(value)) is not None and share > 0
        }
        for version in evaluation.versions
    }
    sums: dict[str, float] = {}
    for parts in shares.values():
        for label, share in parts.items():
            sums[label] = sums.get(label, 0.0) + share
    frequent = sorted(sums, key=lambda label: (-sums[label], label))[:_MAX_LABELS]
    roles = label_roles(sorted(frequent))
    bars: list[Bar] = []
    for version, parts in shares.items():
        segments = [
            Segment(plain(label), parts[label], role)
            for label, role in roles.items()
            if label in parts
        ]
        rest = sum(share for label, share in parts.items() if label not in roles)
        segments += [Segment("other", rest, "grey")] if rest else []
        if segments:
            bars.append(Bar(version, segments))
    return bars


def _agreement(evaluation: Evaluation) -> Table | None:
    models = mapping(evaluation.results.get("reward_models"))
    rows: list[list[str | Cell]] = []
    for name, entry in models.items():
        entry = mapping(entry)
        rows.append(
            [
                plain(name),
                Cell(
                    percent(number(entry.get("oracle_agreement"))),
                    interval(number(entry.get("low")), number(entry.get("high"))),
                ),
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
