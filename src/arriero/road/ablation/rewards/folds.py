"""`arriero ablate reward-folds`: every comparison tried by models that have not seen its prompt.

The comparisons of both tracks are cut into folds by how their dialogs open. For each fold both
reward models learn from the others and score this one, so that small sets are tried whole. One's
own files are read as they are, the world's comparisons from the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from arriero.data.preferences import read_preferences
from arriero.data.writing import write_preferences
from arriero.evaluation.folds import prompt_folds
from arriero.evaluation.scorers import LengthScorer, PairScores, RandomScorer, pair_scores
from arriero.model.weights import shape_of
from arriero.records import Preference, UserError
from arriero.records.prompt import Track
from arriero.road.ablation.rewards.material import Material, make_material, material_of
from arriero.road.ablation.rewards.scores import read_scores
from arriero.road.inputs import existing_files
from arriero.road.lock import locked
from arriero.road.names import TRACKS
from arriero.road.recipe import Recipe
from arriero.road.rewards.evaluate import figures_of_pairs
from arriero.road.rewards.report import write_rewards_report
from arriero.road.run import Step, run_steps
from arriero.stages import reward
from arriero.stages.reward_pairs import encode_pairs
from arriero.stages.workspace import Workspace, write_json
from arriero.tokenizer.load import load_tokenizer

NAME = "reward-folds"
NUM_FOLDS = 5
_FIRST = 5  # the stations before the rewards have the numbers to 04

Say = Callable[[str], None]
Rows = dict[Track, list[Preference]]


def cross_validate(recipe: Recipe, run: Path, say: Say, from_runs: Sequence[Path] = ()) -> Path:
    """Train, score and write `report.html` and `results.json` into `run`; returns the report.

    Raises:
        UserError: a run to start from lacks something, there are two of them, or a fold is empty.
    """
    if len(from_runs) > 1:
        raise UserError(f"ablate {NAME} starts from one run, not {len(from_runs)}")
    given = material_of(from_runs) if from_runs else None
    with locked(run):
        material = given or make_material(recipe, run, say)
        folds = _folds(recipe, material)
        run_steps(_steps(recipe, material, folds), recipe, run, say)
        results = _results(run, material, folds)
        write_json(run / "results.json", results)
        return write_rewards_report(run, results)


def _folds(recipe: Recipe, material: Material) -> list[Rows]:
    """The comparisons of both tracks by fold; an opening that both have is in one fold."""
    rows = [
        replace(row, track=track)
        for track in TRACKS
        for row in read_preferences(_paths(recipe, material, track), track=track)
    ]
    folds: list[Rows] = [
        {track: [row for row in fold if row.track == track] for track in TRACKS}
        for fold in prompt_folds(rows, NUM_FOLDS, recipe.seed)
    ]
    if empty := [track for fold in folds for track in TRACKS if not fold[track]]:
        raise UserError(f"{empty[0]}: too few prompts for {NUM_FOLDS} folds")
    return folds


def _paths(recipe: Recipe, material: Material, track: Track) -> list[Path]:
    """One's own files of a track, or all that the run collected."""
    if recipe.data.source == "files":
        return [*existing_files(track, getattr(recipe.data, track))]
    return [*material.train[track], *material.test[track]]


def _name(track: Track, fold: int) -> str:
    number = _FIRST + fold * len(TRACKS) + TRACKS.index(track)
    return f"{number:02d}-reward-{track}-fold{fold}"


def _steps(recipe: Recipe, material: Material, folds: Sequence[Rows]) -> list[Step]:
    config = {
        "mix": recipe.mix.model_dump(mode="json"),
        "folds": hashlib.sha256(repr(folds).encode("utf-8", "replace")).hexdigest(),
        **recipe.reward.model_dump(mode="json"),
    }
    return [
        Step(
            _name(track, number),
            "reward",
            {"track": track, "fold": number, **config},
            (),
            partial(_train, recipe, material, folds, number, track),
            external=material.hash,
        )
        for number in range(len(folds))
        for track in TRACKS
    ]


def _train(
    recipe: Recipe,
    material: Material,
    folds: Sequence[Rows],
    number: int,
    track: Track,
    space: Workspace,
) -> None:
    """One reward model on all folds but one, tried on that one."""
    train: dict[Track, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    for name in TRACKS:
        crowd = material.learned(recipe)[name][len(material.train[name]) :]
        train[name] = [space.folder / f"{name}-train.jsonl", *crowd]
        test[name] = [space.folder / f"{name}-test.jsonl"]
        others = [row for fold in folds if fold is not folds[number] for row in fold[name]]
        write_preferences(train[name][0], others)
        write_preferences(test[name][0], folds[number][name])
    reward.run(
        recipe.reward,
        track=track,
        mix=recipe.mix,
        start=_chat(material),
        train=train,
        test=test,
        workspace=space,
    )


def _chat(material: Material) -> Path:
    return next(iter(material.chats.values()))


def _results(run: Path, material: Material, folds: Sequence[Rows]) -> dict[str, Any]:
    """In the shape of `evaluate-rewards`, over the pairs of all folds, and the spread over them."""
    tokenizer, context = load_tokenizer(_chat(material)), shape_of(_chat(material)).context
    sets: dict[str, Any] = {}
    for test_set in TRACKS:
        pairs: list[Preference] = []
        scored: dict[str, list[PairScores | None]] = {f"{track} model": [] for track in TRACKS}
        for number, fold in enumerate(folds):
            pairs += [pair.row for pair in encode_pairs(tokenizer, fold[test_set], context)]
            for track in TRACKS:
                scored[f"{track} model"] += _scores(run / _name(track, number), test_set)
        for trivial in (LengthScorer(), RandomScorer()):
            scored[trivial.name] = pair_scores(trivial, pairs)
        num_rows = sum(len(fold[test_set]) for fold in folds)
        sets[test_set] = {
            "n": len(pairs),
            "dropped": {"longer than the context": num_rows - len(pairs)},
            **figures_of_pairs(pairs, scored, [f"{track} model" for track in TRACKS]),
        }
    kinds = {f"{track} model": "reward model" for track in TRACKS}
    kinds |= {"length": "trivial", "random": "trivial"}
    return {
        "study": NAME,
        "folds": [{track: len(rows) for track, rows in fold.items()} for fold in folds],
        "sets": sets,
        "scorers": {
            name: {"kind": kind, "skipped": {}, "is_logit": kind != "trivial"}
            for name, kind in kinds.items()
        },
    }


def _scores(folder: Path, test_set: str) -> list[PairScores]:
    return [(row["chosen"], row["rejected"]) for row in read_scores(folder, test_set)]
