"""Report sections of preference data and of the reward models that learn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arriero.records import Rating
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
from arriero.road.report.drawing import SERIES, Interval, draw_histograms, draw_intervals
from arriero.road.report.folder import Json, RunFolder, StageFolder, mapping, number, numbers
from arriero.road.report.pretraining import add_facts, add_figure, loss_figure
from arriero.road.report.samples import in_turn, read_samples
from arriero.road.report.wording import count, decimal, interval, percent, plain

_CHOICE = {
    "collected": "Two answers from two variants of the model; an annotator chose one.",
    "adopted": "Two answers as they came with the data, one of them chosen.",
}
_RATINGS = tuple(rating.value for rating in Rating)
_RATING_ROLES = dict(zip(_RATINGS, ("blue", "sky", "amber", "grey"), strict=True))
_SAFETY_ROLES = {
    "chosen_safe_other_unsafe": "green",
    "both_safe": "sky",
    "both_unsafe": "vermilion",
}
# Section 3.2.1: what the paper's annotators found.
_PAPER_LABELS = {"chosen_safe_other_unsafe": 0.18, "both_safe": 0.47, "both_unsafe": 0.35}


def preferences_section(run: RunFolder) -> Section | None:
    """What was collected (Tables 6 and 26), how clear the choices were, and examples."""
    blocks: list[Block] = []
    tracks: dict[str, Json] = {}
    for stage in run.of("preferences"):
        version = f" v{stage.version}" if len(run.of("preferences")) > 1 else ""
        for track, facts in mapping(stage.results.get("tracks")).items():
            tracks[f"{track}{version}"] = mapping(facts)
    if tracks:
        look = "The size of the data and the length of its texts, by track."
        blocks.append(_statistics("Comparisons", "track", tracks, look))
    if batches := _groups(tracks, "batches"):
        look = "Batches in time, in the order in which they came; each gives some to the test set."
        blocks.append(_statistics("Comparisons by batch", "batch", batches, look))
    if sources := _groups(tracks, "sources"):
        look = "The data sets that the comparisons came from."
        blocks.append(_statistics("Comparisons by data set", "data set", sources, look))
    ratings = _share_bars(tracks, "ratings", _RATING_ROLES)
    if ratings:
        look = (
            "How much better the chosen answer was. All four degrees should occur: the margin of "
            "the ranking loss lives on their difference."
        )
        blocks.append(
            Bars(title="Degrees of preference", bars=ratings, look=look, paper="section 3.2.1")
        )
    safety = _share_bars(tracks, "safety_labels", _SAFETY_ROLES)
    if safety:
        look = (
            "The paper had 18% with only the chosen answer safe, 47% with both safe and 35% with "
            "both unsafe. Pairs whose chosen answer alone is unsafe are dropped."
        )
        safety.append(_bar("the paper", _PAPER_LABELS, _SAFETY_ROLES))
        blocks.append(Bars(title="Safety labels", bars=safety, look=look, paper="section 3.2.1"))
    for stage in run.newest("preferences"):
        add_facts(blocks, _dropped(stage))
        if samples := in_turn(read_samples(stage.results.get("examples"))):
            look = _CHOICE.get(str(stage.results.get("origin")), _CHOICE["adopted"])
            blocks.append(Samples(title=f"Comparisons ({stage.label})", samples=samples, look=look))
    origins = {str(stage.results.get("origin")) for stage in run.of("preferences")}
    whose = "of the model's own answers" if origins == {"collected"} else "of answers"
    lead = f"Pairs {whose}, one preferred to the other: what the reward models learn."
    return Section("preferences", "Preference data", lead, blocks) if blocks else None


def _dropped(stage: StageFolder) -> list[tuple[str, str]]:
    """What was dropped and how often, and where the first of it stands."""
    places = mapping(stage.results.get("dropped_at"))
    facts: list[tuple[str, str]] = []
    for reason, num in mapping(stage.results.get("dropped")).items():
        at = places.get(reason)
        first = f", first {at[0]}" if isinstance(at, list) and at else ""
        facts.append((f"dropped: {plain(reason)}", f"{count(number(num))}{first}"))
    return facts


def _groups(tracks: Mapping[str, Json], key: str) -> dict[str, Json]:
    """The groups of all tracks that have any, under the track's name and their own."""
    return {
        f"{track}, {name}": mapping(facts)
        for track, of_track in tracks.items()
        for name, facts in mapping(of_track.get(key)).items()
    }


def _statistics(title: str, unit: str, tracks: Mapping[str, Json], look: str) -> Table:
    columns = {
        "train": "for training",
        "test": "held out",
        "turns": "turns a dialogue",
        "tokens_per_example": "tokens an example",
        "tokens_in_prompt": "tokens in the prompt",
        "tokens_in_response": "tokens in an answer",
    }
    counts = ("train", "test")
    return Table(
        title=title,
        head=[unit, *columns.values()],
        rows=[
            [name]
            + [(count if key in counts else decimal)(number(facts.get(key))) for key in columns]
            for name, facts in tracks.items()
        ],
        look=look,
        paper="Tables 6 and 26",
        is_wide=True,
    )


def _share_bars(tracks: Mapping[str, Json], key: str, roles: Mapping[str, str]) -> list[Bar]:
    bars: list[Bar] = []
    for track, facts in tracks.items():
        shares = {name: number(share) for name, share in mapping(facts.get(key)).items()}
        if (bar := _bar(track, shares, roles)).segments:
            bars.append(bar)
    return bars


def _bar(label: str, shares: Mapping[str, float | None], roles: Mapping[str, str]) -> Bar:
    order = [*[name for name in roles if name in shares], *[n for n in shares if n not in roles]]
    segments = [
        Segment(plain(name), share, roles.get(name, "purple"))
        for name in order
        if (share := shares[name])
    ]
    return Bar(label, segments)


def rewards_section(run: RunFolder) -> Section | None:
    """Accuracy by test set (Table 7) and by rating (Table 8), score histograms, losses."""
    stages = run.newest("reward")
    accuracy = {stage.short_label: _accuracy(stage) for stage in stages}
    blocks: list[Block] = []
    if any(accuracy.values()):
        blocks.append(_table_by_set(accuracy))
    rows = _rows_by_rating(accuracy)
    if rows:
        blocks.append(_figure_by_rating(rows))
        blocks.append(_table_by_rating(rows))
    if len(run.of("reward")) > len(stages):
        blocks.append(_table_by_version(run.of("reward")))
    for stage in stages:
        add_figure(blocks, _score_histogram(stage))
    for stage in stages:
        look = (
            "One pass over the pairs. Guessing costs 0.69, which is log 2, before margin and "
            "safety loss."
        )
        add_figure(
            blocks,
            loss_figure(stage, f"Loss, {stage.short_label}", look, "Equation 2", unit="pair"),
        )
    mixes = [bar for stage in stages if (bar := _mix(stage)) is not None]
    if mixes:
        look = "Each model also learns from a share of the other's data."
        title = "What each model was trained on"
        blocks.append(Bars(title=title, bars=mixes, look=look, paper="section 3.2.2"))
    lead = (
        "Two scalar judges, one of helpfulness and one of safety, both started from the chat model."
    )
    return Section("rewards", "Reward models", lead, blocks) if blocks else None


def _table_by_version(stages: Sequence[StageFolder]) -> Table:
    rows: list[list[str | Cell]] = []
    for stage in stages:
        if stage.version is None:
            continue  # the general one, which learned from none of these
        accuracy = _accuracy(stage)
        own = next((name for name in accuracy if name.split()[0] == stage.name), "")
        cells = _accuracy_cells([accuracy.get(own, {}).get("all", {})])
        rows.append([stage.short_label, count(number(stage.results.get("pairs"))), *cells])
    return Table(
        title="The reward models of all versions",
        head=["reward model", "pairs to learn from", "accuracy on its own domain"],
        rows=rows,
        look="Each is trained anew on all comparisons so far, and tested on those held out so far: "
        "newer answers are better, so that it gets harder to tell them apart.",
        paper="section 3.2.1",
    )


def _accuracy(stage: StageFolder) -> dict[str, dict[str, Json]]:
    sets = mapping(stage.results.get("accuracy"))
    return {
        name: {rating: mapping(entry) for rating, entry in mapping(ratings).items()}
        for name, ratings in sets.items()
    }


def _table_by_set(accuracy: Mapping[str, Mapping[str, Mapping[str, Json]]]) -> Table:
    test_sets = list(dict.fromkeys(name for sets in accuracy.values() for name in sets))
    rows: list[list[str | Cell]] = []
    for test_set in test_sets:
        entries = [sets.get(test_set, {}).get("all", {}) for sets in accuracy.values()]
        size = max((number(entry.get("n")) or 0.0 for entry in entries), default=0.0)
        rows.append([test_set, count(size or None), *_accuracy_cells(entries)])
    return Table(
        title="Accuracy on held-out pairs, by test set",
        head=["test set", "pairs", *accuracy],
        rows=rows,
        look="How often a model prefers the answer that the annotators preferred; 50% is chance. "
        "Each model should lead on its own domain. Below each value its 95% interval.",
        paper="Table 7",
    )


def _accuracy_cells(entries: Sequence[Json]) -> list[Cell]:
    values = [number(entry.get("accuracy")) for entry in entries]
    best = max((value for value in values if value is not None), default=None)
    return [
        Cell(
            percent(value),
            "" if value is None else interval(number(entry.get("low")), number(entry.get("high"))),
            None if value is None else min(max((value - 0.5) / 0.5, 0.0), 1.0),
            len(values) > 1 and value is not None and value == best,
        )
        for value, entry in zip(values, entries, strict=True)
    ]


def _rows_by_rating(
    accuracy: Mapping[str, Mapping[str, Mapping[str, Json]]],
) -> dict[tuple[str, str], Mapping[str, Json]]:
    """(model, test set) -> entries by rating, where a test set has ratings."""
    return {
        (model, test_set): entries
        for model, sets in accuracy.items()
        for test_set, entries in sets.items()
        if any(rating in entries for rating in _RATINGS)
    }


def _table_by_rating(rows: Mapping[tuple[str, str], Mapping[str, Json]]) -> Table:
    return Table(
        title="Accuracy by degree of preference",
        head=["model", "test set", *[plain(rating) for rating in _RATINGS], "all"],
        rows=[
            [
                model,
                test_set,
                *[
                    Cell(cell.text, cell.small, cell.shade)
                    for cell in _accuracy_cells(
                        [entries.get(rating, {}) for rating in (*_RATINGS, "all")]
                    )
                ],
            ]
            for (model, test_set), entries in rows.items()
        ],
        look="Clear choices are easy, close ones are hard even for people.",
        paper="Table 8",
        is_wide=True,
        num_names=2,
    )


def _figure_by_rating(rows: Mapping[tuple[str, str], Mapping[str, Json]]) -> Figure:
    # One line a model, on the test set of its own domain where there is one.
    own: dict[str, Mapping[str, Json]] = {}
    for (model, test_set), entries in rows.items():
        if model not in own or test_set.split()[0] == model.split()[0]:
            own[model] = entries
    series = {
        model: [_interval(entries.get(rating, {})) for rating in _RATINGS]
        for model, entries in own.items()
    }
    series = {model: values for model, values in series.items() if any(values)}
    return Figure(
        title="Accuracy falls as the choice gets closer",
        svg=draw_intervals(
            [plain(rating) for rating in _RATINGS],
            series,
            roles=[SERIES[index % len(SERIES)] for index in range(len(series))],
            x="accuracy on the own domain",
            reference=0.5,
        ),
        look="From top to bottom the two answers get more alike; the dashed line is chance. Bars "
        "are 95% intervals.",
        paper="Table 8",
    )


def _interval(entry: Json) -> Interval | None:
    value = number(entry.get("accuracy"))
    return None if value is None else (value, number(entry.get("low")), number(entry.get("high")))


def _score_histogram(stage: StageFolder) -> Figure | None:
    histogram = mapping(stage.results.get("score_histogram"))
    edges = numbers(histogram.get("edges"))
    counts = {name: numbers(histogram.get(name)) for name in ("chosen", "rejected")}
    counts = {name: values for name, values in counts.items() if len(values) == len(edges) - 1}
    if len(edges) < 2 or not counts:
        return None
    roles = {"chosen": "blue", "rejected": "vermilion"}
    return Figure(
        title=f"Scores, {stage.short_label}",
        svg=draw_histograms(
            edges, counts, roles=[roles[name] for name in counts], x="score (before the sigmoid)"
        ),
        look="Chosen answers should lie to the right of rejected ones; where the two overlap, "
        "the model is unsure.",
        paper="compare Figure 27",
    )


def _mix(stage: StageFolder) -> Bar | None:
    shares = {
        name: share
        for name, value in mapping(stage.results.get("mix")).items()
        if (share := number(value))
    }
    total = sum(shares.values())
    if total <= 0:
        return None
    pairs = number(stage.results.get("pairs"))
    segments = [
        Segment(plain(name), share / total, SERIES[index % len(SERIES)])
        for index, (name, share) in enumerate(sorted(shares.items()))
    ]
    return Bar(stage.short_label, segments, f"{count(pairs)} pairs" if pairs else "")
