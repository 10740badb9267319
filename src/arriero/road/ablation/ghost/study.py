"""`arriero ablate ghost-attention`: the same dialogs and steps, with Ghost Attention and without.

From one chat model, which also samples the dialogs, two models are fine-tuned for each seed. `gatt`
learns them as section 3.3 makes them: the instruction on the first turn alone, loss on the last
answer alone. `control` learns the same dialogs as they were sampled: the instruction on every turn,
none dropped, ordinary loss on every answer. Both have the same share of demonstrations in the mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from arriero.data.dialogs import read_dialogs
from arriero.evaluation.consistency import Grader, holds_expected
from arriero.records import ConsistencyTest, Dialog, UserError
from arriero.road.ablation.ghost.page import write_ghost_report
from arriero.road.ablation.ghost.summary import summarize
from arriero.road.ablation.rewards.material import steps_before
from arriero.road.drive import newest_chat_model
from arriero.road.inputs import GHOST_TESTS, Inputs, existing_files, prepare
from arriero.road.lock import locked
from arriero.road.manifest import hash_inputs
from arriero.road.names import INPUTS, PRETRAIN
from arriero.road.recipe import Recipe, load_recipe
from arriero.road.run import Step, run_steps
from arriero.road.stations import names_in
from arriero.road.stations import names_of as folders_of
from arriero.stages import consistency, ghost
from arriero.stages.sft import fine_tune
from arriero.stages.workspace import Workspace, write_json
from arriero.world import World

NAME = "ghost-attention"
ARMS = ("gatt", "control")
_DIALOGS = {"gatt": "dialogs.jsonl", "control": "control.jsonl"}
_FIRST = 5  # a study without a run of its own makes the stations to 03

Say = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """Paths of everything that the study reads.

    Attributes:
        start: the chat model that samples, and that both arms go on from.
        inputs: instructions for the mix, and the dialogs to rewrite.
        tests: files of tests of consistency.
        shard: the corpus that the base was trained on, where fine-tuning replays it.
        grade: says whether an answer honours its test.
    """

    start: Path
    inputs: Inputs
    tests: tuple[Path, ...]
    shard: Path | None
    grade: Grader

    def hash(self) -> str:
        """Of all files: what is trained on others is another study."""
        return hash_inputs(
            {
                "start": sorted(filter(Path.is_file, self.start.iterdir())),
                "instructions": self.inputs.instructions,
                "ghost": self.inputs.ghost,
                "tests": self.tests,
            }
        )


@dataclass(frozen=True)
class Names:
    """Folders of the study's steps: of the dialogs, the start, and each arm by seed."""

    dialogs: str
    start: str
    tuned: Mapping[str, Sequence[str]]
    measured: Mapping[str, Sequence[str]]


def ablate_ghost(recipe: Recipe, run: Path, say: Say, from_runs: Sequence[Path] = ()) -> Path:
    """Sample, train, measure and write `report.html` and `results.json` into `run`.

    Returns:
        The report.

    Raises:
        UserError: a run to start from lacks something, there are two of them, or there are no
            tests.
    """
    if len(from_runs) > 1:
        raise UserError(f"ablate {NAME} starts from one run, not {len(from_runs)}")
    if from_runs:
        recipe = _with_data_of(from_runs[0], recipe)
    _check_tests_named(recipe)
    given = material_of(recipe, from_runs[0]) if from_runs else None
    with locked(run):
        if given is None:
            last = folders_of(recipe).sft[-1]
            run_steps(steps_before(recipe, run, last), recipe, run, say)
            given = material_of(recipe, run, run / last / "model")
        names = names_of(recipe.ablation.seeds)
        run_steps(steps_of(recipe, run, given, names), recipe, run, say)
        results = {
            "study": NAME,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "seeds": recipe.ablation.seeds,
            **summarize(run, names.dialogs, names.start, names.measured, given.tests),
        }
        write_json(run / "results.json", results)
        return write_ghost_report(run, results)


def _with_data_of(run: Path, recipe: Recipe) -> Recipe:
    """The recipe with the data that a run was made of: another world would judge it wrongly."""
    path = run / "recipe.toml"
    if not path.is_file():
        return recipe
    data = load_recipe(str(path)).data
    tests = recipe.data.consistency or data.consistency
    return recipe.model_copy(update={"data": data.model_copy(update={"consistency": tests})})


def _check_tests_named(recipe: Recipe) -> None:
    data = recipe.data
    if data.source == "world" and not data.world.attribute_dialogs and not data.consistency:
        raise UserError(
            "the world draws no dialogs about attributes; say --data.world.attribute_dialogs N, or "
            "name tests with --data.consistency"
        )
    if data.source == "files" and not data.consistency:
        raise UserError("no tests named; say --data.consistency FILE")


def material_of(recipe: Recipe, run: Path, start: Path | None = None) -> Material:
    """What a finished run gives: its newest chat model without such dialogs, inputs and tests.

    Raises:
        UserError: the run has no chat model, or its inputs are not there.
    """
    if start is None:
        # One that has learned such dialogs already would be no control.
        versions = (one.number for one in names_in(run).versions if one.ghost)
        start = newest_chat_model(run, before=next(versions, None))
    if start is None:
        raise UserError(f"{run}: no chat model there; --from-run takes a run that got as far")
    inputs = prepare(recipe.data, run / INPUTS)
    named = recipe.data.consistency
    tests = existing_files("consistency", named) if named else (run / INPUTS / GHOST_TESTS,)
    for path in (*inputs.instructions, *inputs.ghost, *tests):
        if not path.exists():
            raise UserError(
                f"{path}: not there; --from-run takes a run whose data.world.attribute_dialogs is "
                "not 0"
            )
    shard = run / PRETRAIN / "shard"
    is_worlds = recipe.data.source == "world" and not named
    grade = partial(_grade_of_world, World(recipe.data.world.seed)) if is_worlds else holds_expected
    return Material(start, inputs, tests, shard if shard.is_dir() else None, grade)


def _grade_of_world(world: World, test: ConsistencyTest, answer: str) -> bool:
    return world.honours(test.kind, test.value, answer)


def names_of(seeds: int) -> Names:
    """The folders of the steps; seed after seed, so that a stopped study has whole comparisons."""
    tuned: dict[str, list[str]] = {arm: [] for arm in ARMS}
    measured: dict[str, list[str]] = {arm: [] for arm in ARMS}
    number = _FIRST + 2
    for seed in range(seeds):
        for arm in ARMS:
            tuned[arm].append(f"{number:02d}-sft-{arm}-seed{seed}")
            measured[arm].append(f"{number + 1:02d}-consistency-{arm}-seed{seed}")
            number += 2
    return Names(f"{_FIRST:02d}-ghost", f"{_FIRST + 1:02d}-consistency-start", tuned, measured)


def steps_of(recipe: Recipe, run: Path, material: Material, names: Names) -> list[Step]:
    """The dialogs, the start measured, and every arm of every seed trained and measured."""
    steps = [
        Step(
            names.dialogs,
            "ghost",
            recipe.ghost.model_dump(mode="json"),
            (),
            lambda space: ghost.run(
                recipe.ghost,
                policy=material.start,
                prompts=material.inputs.ghost,
                workspace=space,
            ),
            external=material.hash,
        ),
        _measuring(recipe, material, names, run, names.start, material.start, 0),
    ]
    for seed in range(recipe.ablation.seeds):
        for arm in ARMS:
            tuned, measured = names.tuned[arm][seed], names.measured[arm][seed]
            steps.append(_tuning(recipe, material, names, run, arm, seed))
            steps.append(
                _measuring(recipe, material, names, run, measured, run / tuned / "model", seed)
            )
    return steps


def _tuning(
    recipe: Recipe, material: Material, names: Names, run: Path, arm: str, seed: int
) -> Step:
    def work(space: Workspace) -> None:
        space = replace(space, seed=recipe.seed + seed)
        dialogs = list(read_dialogs([run / names.dialogs / _DIALOGS[arm]]))
        mix = [*_demonstrations(recipe, material, len(dialogs), space.seed), *dialogs]
        facts = fine_tune(
            recipe.rejection.sft, material.start, mix, space, corpus_shard=material.shard
        )
        space.write_results({"arm": arm, **facts})

    config = {
        "arm": arm,
        "offset": seed,
        "sft_share": recipe.rejection.sft_share,
        **recipe.rejection.sft.model_dump(mode="json"),
    }
    return Step(
        names.tuned[arm][seed], "sft", config, (names.dialogs,), work, external=material.hash
    )


def _demonstrations(
    recipe: Recipe, material: Material, num_dialogs: int, seed: int
) -> list[Dialog]:
    """So many demonstrations that they make up the recipe's share of the mix."""
    dialogs = [d for d in read_dialogs(material.inputs.instructions) if d.is_answered]
    share = recipe.rejection.sft_share
    wanted = min(len(dialogs), round(num_dialogs * share / (1 - share)))
    order = np.random.default_rng(seed).permutation(len(dialogs))[:wanted]
    return [dialogs[place] for place in sorted(order)]


def _measuring(
    recipe: Recipe, material: Material, names: Names, run: Path, name: str, model: Path, seed: int
) -> Step:
    is_start = name == names.start
    pictured = None if is_start else run / names.start / consistency.PICTURED

    def work(space: Workspace) -> None:
        consistency.run(
            recipe.consistency,
            model=model,
            tests=material.tests,
            workspace=replace(space, seed=recipe.seed + seed),
            grade=material.grade,
            pictured=pictured,
        )

    needs = () if is_start else (names.start, model.parent.name)
    config: dict[str, Any] = {"offset": seed, **recipe.consistency.model_dump(mode="json")}
    return Step(name, "consistency", config, needs, work, external=material.hash)
