"""Report sections of the answers: shares of right, unsafe and refused ones; dialogues to read."""

from __future__ import annotations

from collections.abc import Sequence

from arriero.road.report.blocks import Bar, Bars, Block, Figure, Samples, Section, Segment
from arriero.road.report.drawing import draw_intervals
from arriero.road.report.evaluation import Evaluation
from arriero.road.report.folder import Json, mapping, number
from arriero.road.report.samples import in_turn, read_dialogs, tone
from arriero.road.report.wording import count, percent, plain

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
        samples=in_turn(samples),
        look="The badge is the judge's word for the answer; numbers are grades or reward "
        "probabilities between 0 and 1.",
        num_open=6,
    )
    lead = "Read a few before trusting any number above."
    return Section("dialogs", "Sample dialogues", lead, [block])


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
