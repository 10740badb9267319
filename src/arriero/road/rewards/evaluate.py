"""Any scorers on any test sets: `results.json` and `report.html` of `arriero evaluate-rewards`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from arriero.data.files import stem_of
from arriero.data.preferences import read_preferences
from arriero.data.responses import holds_responses, read_responses
from arriero.evaluation.judge import LanguageJudge
from arriero.evaluation.pair_figures import Scored, accuracies, comparisons, pair_calibration
from arriero.evaluation.response_figures import (
    Labelled,
    detection_figures,
    grade_figures,
    labelled_of_pairs,
)
from arriero.evaluation.scorers import (
    AnswerScorer,
    PairScores,
    Scorer,
    finite_scores,
    pair_scores,
)
from arriero.records import Preference, RatedResponse, UserError
from arriero.records.prompt import Track
from arriero.road.rewards.report import write_rewards_report
from arriero.stages.workspace import write_json

Json = dict[str, Any]
Say = Callable[[str], None]


def evaluate_rewards(
    scorers: Sequence[Scorer], data: Sequence[Path | str], out: Path, say: Say
) -> Path:
    """Score every set by every scorer and write the figures; returns the report's path.

    Args:
        scorers: with different names.
        data: a test set each: pairs in any format, or single answers with a grade or a label.
            `safety:` or `helpfulness:` before it says which choice of a set that has both.
        out: a folder; is made if need be, and written only once everything is scored.

    Raises:
        UserError: a set is missing, wrong or empty, a scorer fails, or `out` can be no folder.
    """
    _check_folder(out)
    sets = {name: _read(given) for name, given in _named(data).items()}
    results: Json = {"sets": {}}
    for name, (rows, dropped) in sets.items():
        say(f"{name}: {len(rows):,} {'pairs' if _are_pairs(rows) else 'rated answers'}")
        figures = _of_pairs if _are_pairs(rows) else _of_responses
        results["sets"][name] = {"n": len(rows), "dropped": dict(dropped)}
        results["sets"][name] |= figures(rows, scorers, say)
    results["scorers"] = {scorer.name: _facts(scorer) for scorer in scorers}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", results)
    return write_rewards_report(out, results)


def _check_folder(out: Path) -> None:
    """Before anything is scored: whether `out` is a folder, or one can be made there."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{there} is a file; name a folder with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: not allowed to write there; name another folder with --out")


def _named(data: Sequence[Path | str]) -> dict[str, str]:
    """What was given by the short name of its file, or whole where two share one."""
    given = list(map(str, data))
    if len(set(given)) < len(given):
        raise UserError("a test set is named twice; name each once")
    stems = [stem_of(Path(_split_track(one)[1])) for one in given]
    return {
        stem if stems.count(stem) == 1 else one: one for stem, one in zip(stems, given, strict=True)
    }


def _split_track(given: str) -> tuple[Track | None, str]:
    """The track that stands before a path, and the path."""
    for track in get_args(Track):
        if given.startswith(f"{track}:"):
            return track, given.removeprefix(f"{track}:")
    return None, given


def _read(given: str) -> tuple[list[Any], Counter[str]]:
    """The rows of a set, pairs or rated answers, and what was of no use in it."""
    dropped: Counter[str] = Counter()
    track, path = _split_track(given)
    if holds_responses(path):
        return list(read_responses(path, skipped=dropped)), dropped
    return list(read_preferences(path, track=track, skipped=dropped)), dropped


def _are_pairs(rows: Sequence[Any]) -> bool:
    return isinstance(rows[0], Preference)


def _of_pairs(pairs: Sequence[Preference], scorers: Sequence[Scorer], say: Say) -> Json:
    scored: dict[str, list[PairScores | None]] = {}
    for scorer in scorers:
        before = Counter(scorer.skipped)
        scored[scorer.name] = pair_scores(scorer, pairs)
        say(f"  {scorer.name}: {_in_words(accuracies(pairs, scored[scorer.name]))}")
        for reason, num in (scorer.skipped - before).items():
            say(f"    not scored: {num:,} {reason}")
    logits = [s.name for s in scorers if isinstance(s, AnswerScorer) and s.is_logit]
    return figures_of_pairs(pairs, scored, logits)


def figures_of_pairs(pairs: Sequence[Preference], scored: Scored, logits: Sequence[str]) -> Json:
    """Accuracies, calibration and detection of each scorer, and how every two of them compare.

    Args:
        logits: the scorers of which the sigmoid of a score is a probability.
    """
    figures: Json = {"kind": "pairs", "accuracy": {}, "calibration": {}, "detection": {}}
    for name, scores in scored.items():
        figures["accuracy"][name] = accuracies(pairs, scores)
        if name in logits:
            figures["calibration"][name] = pair_calibration(scores)
            detection = detection_figures(labelled_of_pairs(pairs, scores))
            if detection is not None:
                figures["detection"][name] = detection
    figures["comparisons"] = comparisons(pairs, scored)
    return figures


def _in_words(accuracy: Json) -> str:
    if not accuracy:
        return "no pair could be scored"
    found = accuracy["all"]["all"]
    return f"accuracy {found['accuracy']:.3f} of {found['n']:,} pairs"


def _of_responses(rows: Sequence[RatedResponse], scorers: Sequence[Scorer], say: Say) -> Json:
    """Grades and labels; a judge of pairs says nothing of single answers."""
    figures: Json = {"kind": "responses", "grades": {}, "detection": {}}
    for scorer in scorers:
        if not isinstance(scorer, AnswerScorer):
            say(f"  {scorer.name}: judges pairs alone")
            continue
        scores = finite_scores(scorer, [row.dialog for row in rows])
        graded: list[tuple[float, float]] = []
        labelled: Labelled = []
        for row, score in zip(rows, scores, strict=True):
            if score is not None and row.grade is not None:
                graded.append((score, row.grade))
            if score is not None and row.is_safe is not None:
                labelled.append((score, row.is_safe))
        given, grades = [score for score, _ in graded], [grade for _, grade in graded]
        by_grade = grade_figures(given, grades, scorer.is_logit)
        if by_grade is not None:
            figures["grades"][scorer.name] = by_grade
        detection = detection_figures(labelled) if scorer.is_logit else None
        if detection is not None:
            figures["detection"][scorer.name] = detection
        say(f"  {scorer.name}: {len(graded):,} graded, {len(labelled):,} labelled")
    return figures


def _facts(scorer: Scorer) -> Json:
    facts: Json = {"kind": scorer.kind, "skipped": dict(scorer.skipped)}
    if isinstance(scorer, AnswerScorer):
        facts["is_logit"] = scorer.is_logit
    if isinstance(scorer, LanguageJudge):
        facts |= {"letters": dict(scorer.letters), "num_swayed": scorer.num_swayed}
    return facts
