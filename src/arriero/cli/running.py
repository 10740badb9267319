"""Verbs about recipes and runs: run and the stages alone, ablate, config, report, recipes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

from arriero.cli.keys import add_run_keys, overrides_of, recipe_of, recipe_verb
from arriero.cli.verbs import Verbs
from arriero.records import UserError

STAGE_VERBS = {
    "tokenizer": "train the tokenizer (section 2.2)",
    "pretrain": "train the base model (section 2.2)",
    "sft": "fine-tune it on demonstrations (section 3.1)",
    "preferences": "collect or take over comparisons (section 3.2.1)",
    "reward": "train both reward models (section 3.2.2)",
    "ghost": "make dialogs for Ghost Attention (section 3.3)",
    "rejection": "rejection sampling and fine-tuning on the best (section 3.2.3)",
    "ppo": "proximal policy optimization (section 3.2.3)",
    "evaluate": "compare all versions (section 3.4)",
}


def add_verbs(verbs: Verbs) -> None:
    """Add them all."""
    run = recipe_verb(verbs, "run", "run a recipe: all stages in order, what is done skipped", _run)
    run.add_argument("--until", metavar="STAGE", help="the last stage to run")
    run.add_argument("--from", dest="restart", metavar="STAGE", help="do this stage on again")
    for name, text in STAGE_VERBS.items():
        recipe_verb(verbs, name, f"one stage alone: {text}", _run)
    ablate = verbs.add("ablate", "what one choice of the paper is worth (A.2.1, A.3.3)", _ablate)
    ablate.add_argument("ablation", metavar="ABLATION",
                        help="attention: of heads and of context; of reward models: margin, "
                        "safety-loss, reward-scaling, reward-mix, reward-folds; of versions: bag, "
                        "ghost-attention")  # fmt: skip
    ablate.add_argument("recipe", metavar="RECIPE", nargs="?",
                        help="default: the first run's own, or tiny")  # fmt: skip
    ablate.add_argument("--run", type=Path, metavar="FOLDER", help="default: runs/ablate-ABLATION")
    ablate.add_argument("--smoke", action="store_true", help="the same in about a minute")
    ablate.add_argument("--seeds", dest="ablation.seeds", metavar="N", default=argparse.SUPPRESS,
                        help="trainings of each model")  # fmt: skip
    ablate.add_argument("--from-run", type=Path, nargs="+", default=[], metavar="RUN",
                        help="finished runs with a chat model and comparisons to start from; "
                        "reward-scaling takes several, of unlike sizes")  # fmt: skip
    if verbs.asked == "ablate":
        add_run_keys(ablate)
    recipe_verb(verbs, "config", "print what a recipe would run, every key, as TOML", _config)
    report = verbs.add("report", "write the report of a run", _report)
    report.add_argument("run", type=Path, metavar="RUN")
    verbs.add("recipes", "the recipes that come with arriero", _recipes)


def _run(options: argparse.Namespace) -> None:
    from arriero.road.drive import drive, newest_chat_model

    recipe = recipe_of(options)
    run: Path = options.run or Path("runs") / Path(options.recipe).stem
    say = _clocked()
    only = None if options.verb == "run" else options.verb
    until = getattr(options, "until", None)
    restart = getattr(options, "restart", None)
    report = drive(recipe, run, say, until=until, restart_from=restart, only=only)
    if report is None:  # not the first rank
        return
    print(f"\nReport:  {report}")
    newest = newest_chat_model(run)
    if newest is not None:
        print(f"Chat:    arriero chat {newest}")


def _clocked() -> Callable[[str], None]:
    """Prints a line with the time since now in front of it."""
    began = time.perf_counter()

    def say(line: str) -> None:
        spent = int(time.perf_counter() - began)
        print(f"{spent // 60:3d}:{spent % 60:02d}  {line}", flush=True)

    return say


def _ablate(options: argparse.Namespace) -> None:
    from arriero.road.ablation import ablation_named
    from arriero.road.recipe import load_recipe

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("ablate works in one process; start it without torchrun")
    ablation = ablation_named(options.ablation)
    overrides = overrides_of(options)
    if options.smoke:
        smoke = {"scale": 0.05, "ablation.seeds": 2, "ablation.max_batch": 64}
        overrides = smoke | overrides
    own = [str(path) for run in options.from_run[:1] if (path := run / "recipe.toml").is_file()]
    recipe = load_recipe(options.recipe or (own or ["tiny"])[0], overrides)
    run: Path = options.run or Path("runs") / f"ablate-{options.ablation}"
    report = ablation(recipe, run, _clocked(), options.from_run)
    print(f"\nReport:  {report}\nFigures: {run / 'results.json'}")


def _config(options: argparse.Namespace) -> None:
    from arriero.road.recipe import to_toml

    print(to_toml(recipe_of(options)), end="")


def _report(options: argparse.Namespace) -> None:
    from arriero.road.report import write_report

    if not options.run.is_dir():
        raise UserError(f"{options.run}: no such run")
    print(write_report(options.run))


def _recipes(_: argparse.Namespace) -> None:
    from arriero.road.recipe import load_recipe, recipe_names

    for name in recipe_names():
        print(f"{name:12} {load_recipe(name).model.num_parameters:>14,} parameters")
