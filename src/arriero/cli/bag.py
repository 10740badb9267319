"""The verb that looks into the bag of samples: bag."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arriero.cli.verbs import Verbs
from arriero.records import UserError

_COLUMNS = ("version", "category", "prompts", "samples", "ended", "mean", "best", "largest")


def add_verbs(verbs: Verbs) -> None:
    """Add it."""
    bag = verbs.add("bag", "what rejection sampling has sampled: counts, scores, answers", _bag)
    bag.add_argument("run", type=Path, metavar="RUN", help="a run, or a stage of it")
    bag.add_argument("--version", default="", metavar="V", help="of one version, such as v2")
    bag.add_argument("--category", default="", metavar="C", help="of prompts of one category")
    bag.add_argument("--prompt", default="", metavar="ID", help="the samples of one prompt")
    bag.add_argument("--best", type=int, metavar="N", help="the N best samples of each version")
    bag.add_argument(
        "--json", action="store_true", help="a JSON object a line: versions, or samples"
    )


def _bag(options: argparse.Namespace) -> None:
    from arriero.road.bag import Query, bag_counts, bag_samples

    if options.best is not None and options.best < 1:
        raise UserError(f"--best {options.best}: say a number above 0")
    query = Query(options.version, options.prompt, options.category)
    if options.best or options.prompt:
        lines = map(
            _as_json if options.json else _sample,
            bag_samples(options.run, query, options.best or 0),
        )
    elif options.json:
        lines = map(_as_json, bag_counts(options.run, query))
    else:
        lines = _table(bag_counts(options.run, query))
    is_empty = True
    for line in lines:
        is_empty = False
        print(line)
    if is_empty:
        raise UserError(f"{options.run}: no such samples in the bag")


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _sample(row: dict[str, Any]) -> str:
    """One sample on one line."""
    score = "-" if row["score"] is None else f"{row['score']:.3f}"
    cut = "" if row["ended"] else " (cut off)"
    words = f"{row['prompt']} -> {row['answer']}"
    return f"{row['version']:>4} {score:>8}  {' '.join(words.split())}{cut}  [{row['prompt_id']}]"


def _table(versions: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Versions and their categories, a line each."""
    if not versions:
        return
    width = max(len(name) for row in versions for name in (*row["categories"], _COLUMNS[1])) + 2
    yield _line(_COLUMNS, width)
    for row in versions:
        for name, each in {"all": row, **row["categories"]}.items():
            shares = (_decimal(each[key]) for key in ("ended", "mean", "mean_of_best", "largest"))
            counts = (f"{each['prompts']:,}", f"{each['samples']:,}")
            yield _line((row["version"], name or "(none)", *counts, *shares), width)


def _line(cells: Sequence[str], width: int) -> str:
    version, category, *numbers = cells
    return f"{version:<9}{category:<{width}}" + "".join(f"{cell:>10}" for cell in numbers)


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
