"""The head of the report: the strip of stages and the big numbers."""

from __future__ import annotations

from collections.abc import Sequence

from arriero.road.report.blocks import Milestone, Section, Tile, TileRow
from arriero.road.report.costs import total_seconds
from arriero.road.report.drawing import Interval
from arriero.road.report.evaluation import Evaluation
from arriero.road.report.folder import Json, RunFolder, mapping, mappings, number, text
from arriero.road.report.outside_judge import JUDGES, judge_facts, says_nothing
from arriero.road.report.wording import MISSING, count, decimal, duration, percent

_SECTION_OF = {
    "tokenizer": "tokenizer",
    "pretrain": "pretraining",
    "sft": "sft",
    "preferences": "preferences",
    "reward": "rewards",
    "rejection": "rejection",
    "ppo": "ppo",
    "evaluate": "versions",
}
_UP, _DOWN = "higher is better", "lower is better"


def milestones(run: RunFolder, sections: Sequence[Section]) -> list[Milestone]:
    """The stages in order, each with its time and the section that tells of it."""
    shown = {section.id for section in sections}
    whole = total_seconds(run) or 0.0
    result: list[Milestone] = []
    for stage in run.stages:
        section = _SECTION_OF.get(stage.kind, f"stage-{stage.number}")
        time = duration(stage.seconds)
        if not stage.is_finished:
            time = f"{time}, not finished" if stage.seconds is not None else "not finished"
        share = (stage.seconds or 0.0) / whole if whole else 0.0
        target = section if section in shown else ""
        result.append(Milestone(stage.label, time, share, stage.is_finished, target))
    return result


def tiles(run: RunFolder, evaluation: Evaluation | None) -> list[Tile]:
    """The big numbers that the run has: by the oracle if there is one, else by the models."""
    if evaluation is None:
        return _training_tiles(run)
    candidates = [
        _rate_tile(evaluation, "Right answers", ("ordinary",), "right", _UP),
        _rate_tile(evaluation, "Violations", ("adversarial",), "violations", _DOWN),
        _rate_tile(
            evaluation, "False refusals", ("borderline", "ordinary"), "false_refusals", _DOWN
        ),
        _win_tile(evaluation),
        *_reward_tiles(evaluation),
    ]
    return [tile for tile in candidates if tile is not None][:4]


def _tile(title: str, note: str, direction: str, rows: Sequence[TileRow]) -> Tile | None:
    if not rows:
        return None
    return Tile(title, rows[-1].value, f"{rows[-1].label}{note}", direction, rows)


def _row(label: str, role: str, rate: Interval) -> TileRow:
    value, low, high = rate
    return TileRow(label, percent(value), role, _clip(value) or 0.0, _clip(low), _clip(high))


def _clip(value: float | None) -> float | None:
    return None if value is None else min(max(value, 0.0), 1.0)


def _rate_tile(
    evaluation: Evaluation, title: str, set_names: Sequence[str], key: str, direction: str
) -> Tile | None:
    for set_name in set_names:
        rows = [
            _row(version, evaluation.role(version), rate)
            for version in evaluation.versions
            if (rate := evaluation.rate(set_name, version, key)) is not None
        ]
        if rows:
            return _tile(title, f", on {set_name} prompts", direction, rows)
    return None


def _win_tile(evaluation: Evaluation) -> Tile | None:
    """Shares against the fine-tuned model, by the best judge at hand, on all prompts if it can."""
    entries = mappings(evaluation.results.get("wins"))
    stopped = judge_facts(evaluation).get("error")
    for judge in ("oracle", "reward") if stopped else ("oracle", "outside", "reward"):
        by_judge = [
            entry for entry in entries if entry.get("judge") == judge and not says_nothing(entry)
        ]
        baseline = evaluation.results.get("baseline") or "sft"
        against = [entry for entry in by_judge if entry.get("b") == baseline] or by_judge
        if not against:
            continue
        opponent = against[0].get("b")
        set_names = [entry.get("set") for entry in against]
        set_name = "all" if "all" in set_names else set_names[0]
        rows = [
            _row(text(entry.get("a")), evaluation.role(text(entry.get("a"))), rate)
            for entry in against
            if entry.get("b") == opponent
            and entry.get("set") == set_name
            and (rate := _share(entry)) is not None
        ]
        prompts = f", {text(set_name)} prompts" if set_name else ""
        return _tile(f"Wins against {text(opponent)}", f"{prompts}, by {JUDGES[judge]}", _UP, rows)
    return None


def _share(entry: Json) -> Interval | None:
    share = number(entry.get("share"))
    if share is None:
        wins, losses = (number(entry.get(key)) or 0.0 for key in ("wins", "losses"))
        share = wins / (wins + losses) if wins + losses else None
    return None if share is None else (share, number(entry.get("low")), number(entry.get("high")))


def _reward_tiles(evaluation: Evaluation) -> list[Tile | None]:
    path = mapping(evaluation.results.get("path"))
    found: list[Tile | None] = []
    for key in ("helpfulness", "safety"):
        rows = [
            _row(version, evaluation.role(version), (value, None, None))
            for version in evaluation.versions
            if (value := number(mapping(path.get(version)).get(key))) is not None
        ]
        found.append(_tile(f"Mean {key}", ", by our reward model", _UP, rows))
    return found


def _training_tiles(run: RunFolder) -> list[Tile]:
    """Before there is an evaluation: what the trained stages say of themselves."""
    found: list[Tile] = []
    for stage in run.of("pretrain"):
        perplexity = number(stage.results.get("perplexity"))
        if perplexity is not None:
            note = f"{count(number(stage.results.get('parameters')))} parameters"
            found.append(Tile("Base model perplexity", decimal(perplexity), note, _DOWN, []))
    for stage in run.of("reward"):
        sets = mapping(stage.results.get("accuracy"))
        own = stage.results.get("name")
        name = next(
            (name for name in sets if text(own) and text(own) in name), next(iter(sets), "")
        )
        accuracy = number(mapping(mapping(sets.get(name)).get("all")).get("accuracy"))
        if accuracy is not None:
            title = f"Reward model {stage.short_label}"
            found.append(Tile(title, percent(accuracy), f"accuracy on {name}", _UP, []))
    return [tile for tile in found if tile.value != MISSING][:4]
