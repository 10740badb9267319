"""The verbs of reward models: evaluate-rewards and score."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arriero.cli.verbs import Verbs
from arriero.evaluation.judge import KEY_VARIABLE, judge_key
from arriero.records import UserError

if TYPE_CHECKING:
    import torch


def add_verbs(verbs: Verbs) -> None:
    """Add them."""
    evaluate = verbs.add("evaluate-rewards", "any scorers on any test sets (Tables 7, 8, 29)",
                         _evaluate)  # fmt: skip
    evaluate.add_argument(
        "--scorers",
        nargs="+",
        required=True,
        metavar="SCORER",
        help="a reward model's folder, hf:FOLDER, http://HOST/v1#MODEL for a judge, length, "
        "random; NAME=SCORER names it",
    )
    evaluate.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE",
        help="pairs in any format, or answers with `score` (1 to 7) or `is_safe`; safety:FILE or "
        "helpfulness:FILE where a set has a choice for each",
    )
    evaluate.add_argument(
        "--out", type=Path, default=Path("runs/evaluate-rewards"), metavar="FOLDER",
        help="for report.html and results.json; default: runs/evaluate-rewards",
    )  # fmt: skip
    evaluate.add_argument("--device", help="such as cpu or cuda; default: a GPU if there is one")
    judge = evaluate.add_argument_group("judges", f"their key stands in {KEY_VARIABLE}")
    judge.add_argument("--judge-timeout", type=float, default=60, metavar="S", help="an attempt")
    judge.add_argument("--judge-attempts", type=int, default=4, metavar="N", help="a question")
    judge.add_argument("--judge-parallel", type=int, default=4, metavar="N", help="at once")
    score = verbs.add("score", "score every dialog or pair of a file by a reward model", _score)
    score.add_argument("model", metavar="MODEL", help="a reward model's folder, or hf:FOLDER")
    score.add_argument("file", metavar="FILE", help="dialogs or pairs in any format")
    score.add_argument("--out", type=Path, metavar="FILE", help="default: the terminal")
    score.add_argument("--device", help="such as cpu or cuda; default: a GPU if there is one")


def _score(options: argparse.Namespace) -> None:
    from arriero.data.writing import write_rows
    from arriero.evaluation.opening import open_answer_scorer
    from arriero.road.rewards.scores import score_rows

    if options.out is not None and options.out.is_dir():
        raise UserError(f"{options.out} is a folder; name a file with --out")
    scorer = open_answer_scorer(options.model, device_named(options.device))
    skipped: Counter[str] = Counter()

    def counted() -> Iterator[dict[str, Any]]:
        for row in score_rows(scorer, options.file, skipped):
            if "skipped" in row:
                skipped[row["skipped"]] += 1
            yield row

    if options.out is None:
        for row in counted():
            print(json.dumps(row, ensure_ascii=False), flush=True)
    else:
        print(f"{options.out}: {write_rows(options.out, counted()):,} rows")
    for reason, num in skipped.items():
        print(f"note: {num:,} not scored: {reason}", file=sys.stderr)


def _evaluate(options: argparse.Namespace) -> None:
    from arriero.evaluation.opening import JudgeOptions, open_scorers
    from arriero.road.rewards import evaluate_rewards

    if min(options.judge_timeout, options.judge_attempts, options.judge_parallel) <= 0:
        raise UserError("--judge-timeout, --judge-attempts and --judge-parallel are above 0")
    judge = JudgeOptions(
        key=judge_key(),
        timeout=options.judge_timeout,
        attempts=options.judge_attempts,
        at_once=options.judge_parallel,
    )
    scorers = open_scorers(options.scorers, judge, device_named(options.device))

    def say(line: str) -> None:
        print(line, flush=True)

    report = evaluate_rewards(scorers, options.data, options.out, say)
    print(f"\nReport:  {report}\nFigures: {options.out / 'results.json'}")


def device_named(name: str | None) -> torch.device:
    """The device of a name, or the best there is."""
    import torch

    has_gpu = torch.cuda.is_available()
    name = name or ("cuda" if has_gpu else "cpu")
    if name != "cpu" and not (has_gpu and name.partition(":")[0] == "cuda"):
        raise UserError(f"--device {name}: not on this machine; name cpu, or cuda with a GPU")
    return torch.device(name)
