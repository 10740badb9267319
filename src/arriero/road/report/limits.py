"""Report section: what a model of this size can and cannot do, from what the run itself measured.

Wins over another version say nothing of whether either is any good. So size, fluency and judges
stand beside them, each with a verdict by a rule that is said. The rules are ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from arriero.road.report.blocks import Section, Table
from arriero.road.report.drawing import Interval
from arriero.road.report.evaluation import Evaluation
from arriero.road.report.folder import Json, RunFolder, mapping, mappings, number, text
from arriero.road.report.outside_judge import says_nothing
from arriero.road.report.wording import MISSING, count, decimal, interval, percent

# Table 1: the smallest Llama 2 and what each of them read.
_LLAMA_PARAMETERS = 6_738_415_616
_LLAMA_TOKENS = 2e12
_FLUENT_PERPLEXITY = 20.0
_ENDS = 0.95
_REPEATS = 0.1
_RIGHT = 0.7
_JUDGES = {
    "oracle": "by the oracle",
    "outside": "by an outside judge",
    "reward": "by its own reward models",
}
_CAN, _CANNOT, _UNSETTLED, _FACT = "can", "cannot", "not settled", ""

Row = tuple[str, str, str, str]
"""What, the verdict, the figure, how to read it."""


def limits_section(run: RunFolder, evaluation: Evaluation) -> Section | None:
    """The newest version's limits, a row for each thing that was measured."""
    newest = evaluation.versions[-1] if evaluation.versions else ""
    rows = [
        *_size(run),
        *_fluency(evaluation, newest),
        *_judges(run),
        *_gains(evaluation, newest),
        *_skills(evaluation, newest),
    ]
    if not any(verdict for _, verdict, _, _ in rows):
        return None
    table = Table(
        title=f"{newest}, measured",
        head=["what", "verdict", "measured", "how to read it"],
        rows=[[what, verdict or MISSING, figure, look] for what, verdict, figure, look in rows],
        look="Every verdict follows from the figure beside it. A model may win against the one "
        "before it and still be unfit for use.",
        is_wide=True,
        num_names=4,
    )
    lead = "What the figures of this run allow to say of its newest model, and what they do not."
    return Section("limits", "What a model of this size can and cannot do", lead, [table])


def _size(run: RunFolder) -> Iterator[Row]:
    for stage in run.of("pretrain"):
        parameters, tokens = (number(stage.results.get(key)) for key in ("parameters", "tokens"))
        if not parameters:
            continue
        share = _LLAMA_PARAMETERS / parameters
        yield (
            "size",
            _FACT,
            f"{count(parameters)} parameters",
            f"Llama 2 7B has {count(share)} times as many",
        )
        if tokens:
            theirs = _LLAMA_TOKENS / _LLAMA_PARAMETERS
            yield (
                "reading",
                _FACT,
                f"{count(tokens)} tokens",
                f"{decimal(tokens / parameters)} a parameter; Llama 2 7B read {count(theirs)}",
            )


def _fluency(evaluation: Evaluation, newest: str) -> Iterator[Row]:
    results = evaluation.results
    perplexity = number(mapping(results.get("perplexity")).get(newest))
    if perplexity is not None:
        yield (
            "foretell text that it has not read",
            _CAN if perplexity <= _FLUENT_PERPLEXITY else _CANNOT,
            f"perplexity {decimal(perplexity)}",
            f"as unsure of every next token as among {count(perplexity)} equally likely ones; "
            f"above {_FLUENT_PERPLEXITY:g} it does not write sense",
        )
    ended = number(mapping(results.get("ended")).get(newest))
    if ended is not None:
        yield (
            "come to an end",
            _CAN if ended >= _ENDS else _CANNOT,
            f"{percent(ended)} of its answers end",
            f"the others were cut off; {percent(_ENDS, 0)} are asked for",
        )
    repeated = number(mapping(results.get("repetition")).get(newest))
    if repeated is not None:
        yield (
            "go on without repeating itself",
            _CAN if repeated <= _REPEATS else _CANNOT,
            f"{percent(repeated)} of its trigrams stood before",
            f"in the same answer; at most {percent(_REPEATS, 0)} are asked for",
        )


def _judges(run: RunFolder) -> Iterator[Row]:
    for stage in run.newest("reward"):
        track = stage.name
        figures = mapping(mapping(mapping(stage.results.get("accuracy")).get(track)).get("all"))
        rate = _interval(figures, "accuracy")
        if rate is None or rate[1] is None:
            continue
        yield (
            f"its {track} model: tell better from worse",
            _CAN if rate[1] > 0.5 else _CANNOT if (rate[2] or 1.0) < 0.5 else _UNSETTLED,
            f"right on {_shown(rate)} of unseen pairs",
            "chance is 50%; what it rewards is learned, be it right or not",
        )


def _gains(evaluation: Evaluation, newest: str) -> Iterator[Row]:
    results = evaluation.results
    baseline = text(results.get("baseline"))
    for judge, by in _JUDGES.items():
        for entry in mappings(results.get("wins")):
            against = text(entry.get("b"))
            if (entry.get("judge"), entry.get("a")) != (judge, newest) or against == newest:
                continue
            if entry.get("set") not in ("all", "", None) or (baseline and against != baseline):
                continue
            rate = None if says_nothing(entry) else _interval(entry, "share")
            if rate is None or rate[1] is None or rate[2] is None:
                continue
            verdict = _UNSETTLED if rate[1] <= 0.5 <= rate[2] else _CAN
            yield (
                f"answer better than {against}, {by}",
                _CANNOT if rate[2] < 0.5 else verdict,
                f"wins {_shown(rate)} of the prompts that are no tie",
                "its own judges flatter: they did the training"
                if judge == "reward"
                else "a judge that did not train it",
            )
            break


def _skills(evaluation: Evaluation, newest: str) -> Iterator[Row]:
    capabilities = mapping(evaluation.results.get("capabilities"))
    if capabilities.get("measure") != "right":
        yield (
            "say what is true",
            _UNSETTLED,
            "not measured",
            "nobody here knows the right answers; read the sample dialogues",
        )
        return
    for category, by_version in mapping(capabilities.get("by_category")).items():
        share = number(mapping(by_version).get(newest))
        if share is not None:
            prompts = number(mapping(capabilities.get("prompts")).get(category))
            yield (
                f"{category.replace('_', ' ')}",
                _CAN if share >= _RIGHT else _CANNOT,
                f"{percent(share)} right of {count(prompts)}",
                f"by the oracle; {percent(_RIGHT, 0)} are asked for",
            )


def _interval(entry: Json, key: str) -> Interval | None:
    value = number(entry.get(key))
    return None if value is None else (value, number(entry.get("low")), number(entry.get("high")))


def _shown(rate: Interval) -> str:
    value, low, high = rate
    return f"{percent(value)} ({interval(low, high)})"
