"""`arriero ablate bag`: a version of RLHF fed from the newest samples alone, and from all.

V3 of the paper learned from V2's samples alone and forgot how to rhyme; from V4 on the best samples
of all versions joined. Here one version is made both ways, from the same base model, with the same
reward models, prompts and samples. As the bag brings more targets, and so more steps, the newest
samples are learned a second time in as many.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arriero.data.prompts import read_prompts
from arriero.records import UserError
from arriero.road.ablation.bag.page import write_bag_report
from arriero.road.ablation.rewards.material import steps_before
from arriero.road.ablation.rewards.scores import over_seeds
from arriero.road.files import RunFiles
from arriero.road.inputs import Inputs, few_shot, prepare
from arriero.road.lock import locked
from arriero.road.manifest import current_stages, hash_inputs
from arriero.road.names import INPUTS, PRETRAIN, TRACKS, StationNames, VersionNames
from arriero.road.recipe import Recipe, load_recipe
from arriero.road.run import Step, run_steps
from arriero.road.stations import names_of
from arriero.stages import evaluate, rejection
from arriero.stages.evaluate_judge import JudgeConfig
from arriero.stages.workspace import Workspace, write_json

NAME = "bag"
ARMS = ("newest", "longer", "all")
"""The newest samples for the recipe's epochs, for as many steps as `all` takes, and all."""
BEFORE = "before"

Say = Callable[[str], None]
Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """A run that got as far as the reward models of the version, and that version's folders."""

    run: Path
    recipe: Recipe
    names: StationNames
    version: VersionNames
    inputs: Inputs
    files: RunFiles

    @property
    def policy(self) -> Path:
        """What samples: the newest model before the version."""
        return self.run / self.names.policies(before=self.version.number)[-1] / "model"

    @property
    def rewards(self) -> tuple[Path, Path]:
        """The version's reward models."""
        rewards = self.version.rewards
        return (
            self.run / rewards["helpfulness"] / "model",
            self.run / rewards["safety"] / "model",
        )

    @property
    def bags(self) -> list[Path]:
        """The stage folders of the earlier versions."""
        versions = self.names.versions
        return [self.run / v.rejection for v in versions if v.number < self.version.number]

    def hash(self) -> str:
        """Of what every training follows from."""
        models = (self.policy, *self.rewards, self.run / PRETRAIN / "model")
        parts = {f"model {n}": sorted(folder.iterdir()) for n, folder in enumerate(models)}
        parts["prompts"] = [self.files.prompts("rejection", self.version.number)]
        parts["bags"] = [bag / "manifest.json" for bag in self.bags]
        return hash_inputs(parts)


def ablate_bag(recipe: Recipe, run: Path, say: Say, from_runs: Sequence[Path] = ()) -> Path:
    """Make the version both ways for each seed, compare, write `report.html` and `results.json`.

    Returns:
        The report.

    Raises:
        UserError: the recipe has no version with a bag, or the run to start from is not as far.
    """
    if len(from_runs) > 1:
        raise UserError(f"ablate {NAME} starts from one run, not {len(from_runs)}")
    with locked(run):
        if from_runs:
            material = material_of(from_runs[0])
        else:
            version = _version(recipe)
            run_steps(steps_before(recipe, run, version.rewards["safety"]), recipe, run, say)
            material = _material(recipe, run)
        steps = steps_of(recipe, run, material)
        run_steps(steps, recipe, run, say)
        results = {
            "study": NAME,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "seeds": recipe.ablation.seeds,
            "version": f"v{material.version.number}",
            **summarize(recipe, run, material),
        }
        write_json(run / "results.json", results)
        return write_bag_report(run, results)


def _version(recipe: Recipe) -> VersionNames:
    """The first version that has a bag to choose from."""
    first = max(2, recipe.versions.bag_from)
    if first > recipe.versions.rlhf:
        raise UserError(
            f"the recipe ends with V{recipe.versions.rlhf}, the bag is opened at V{first}; say "
            f"--versions.rlhf {first}, or take the recipe tiny-versions"
        )
    return names_of(recipe).versions[first - 1]


def material_of(run: Path) -> Material:
    """What a run gives, by its own recipe.

    Raises:
        UserError: it has no version with a bag, or is not as far.
    """
    material = _material(load_recipe(str(run / "recipe.toml")), run)
    version = material.version
    wanted = [*(bag.name for bag in material.bags), *version.rewards.values()]
    there = current_stages(run)
    for name in wanted:
        if name not in there:
            raise UserError(
                f"{run / name}: not finished; --from-run takes a run that got as far as the reward "
                f"models of V{version.number}"
            )
    return material


def _material(recipe: Recipe, run: Path) -> Material:
    names, inputs = names_of(recipe), prepare(recipe.data, run / INPUTS)
    files = RunFiles(run, recipe, inputs, names)
    return Material(run, recipe, names, _version(recipe), inputs, files)


def _folder(number: int, name: str, seed: int) -> str:
    return f"{number:02d}-{name}-seed{seed}"


def folders(recipe: Recipe) -> list[dict[str, str]]:
    """The folders of each seed: of both arms, and of what compares them.

    The numbers come after those of a run that the study may have made itself.
    """
    first = len(names_of(recipe).in_order())
    return [
        {
            arm: _folder(first + 4 * seed + place, f"{kind}-{arm}".rstrip("-"), seed)
            for place, (kind, arm) in enumerate(
                # What draws the samples that the others learn from comes first.
                (*(("rejection", arm) for arm in reversed(ARMS)), ("evaluate", ""))
            )
        }
        for seed in range(recipe.ablation.seeds)
    ]


def steps_of(recipe: Recipe, run: Path, material: Material) -> list[Step]:
    """All arms and their comparison, seed after seed."""
    steps: list[Step] = []
    for seed, names in enumerate(folders(recipe)):
        steps += [_making(recipe, run, material, names, arm, seed) for arm in reversed(ARMS)]
        steps.append(_comparing(recipe, run, material, names, seed))
    return steps


def _making(
    recipe: Recipe, run: Path, material: Material, names: dict[str, str], arm: str, seed: int
) -> Step:
    """The arm of all versions draws the samples; the newest of them are the other arms'."""
    drawn = run / names["all"]
    choice = {} if arm == "all" else {"samples_from": str(drawn), "selection": "newest"}
    config = recipe.rejection.model_copy(update={"selection": "all", **choice})

    def work(space: Workspace) -> None:
        rejection.run(
            config,
            base=material.run / PRETRAIN / "model",
            policy=material.policy,
            rewards=material.rewards,
            prompts=[material.files.prompts("rejection", material.version.number)],
            instructions=material.inputs.instructions,
            corpus_shard=material.run / PRETRAIN / "shard",
            workspace=replace(space, seed=recipe.seed + seed),
            bags=material.bags,
            version=f"v{material.version.number}",
            num_steps=_results(drawn)["steps"] if arm == "longer" else None,
        )

    keys = {
        "offset": seed,
        "arm": arm,
        **config.model_dump(mode="json", exclude={"samples_from"}),
    }
    needs = () if arm == "all" else (names["all"],)
    return Step(names[arm], "rejection", keys, needs, work, external=material.hash)


def _comparing(
    recipe: Recipe, run: Path, material: Material, names: dict[str, str], seed: int
) -> Step:
    # The study reads capabilities; nobody outside is asked, and paid, for each of its seeds.
    config = recipe.evaluate.model_copy(update={"judge": JudgeConfig()})

    def work(space: Workspace) -> None:
        versions = {arm: run / names[arm] / "model" for arm in ARMS}
        last = material.version.number
        evaluate.run(
            config,
            evaluate.EvaluateInputs(
                base=material.run / PRETRAIN / "model",
                base_shard=material.run / PRETRAIN / "shard",
                versions={BEFORE: material.policy, **versions},
                sets=material.files.test_sets(),
                rewards=material.rewards,
                comparisons={
                    track: material.files.comparisons(track, "test", last)[-1] for track in TRACKS
                },
                few_shot=few_shot(material.run / INPUTS),
            ),
            oracle=material.inputs.oracle(),
            pretraining=material.recipe.pretrain,
            workspace=replace(space, seed=recipe.seed + seed),
        )

    keys = {"offset": seed, **config.model_dump(mode="json")}
    needs = tuple(names[arm] for arm in ARMS)
    return Step(names[""], "evaluate", keys, needs, work, external=material.hash)


def summarize(recipe: Recipe, run: Path, material: Material) -> Json:
    """Capabilities by category over the seeds, with what the version's own prompts asked for."""
    path = material.files.prompts("rejection", material.version.number)
    asked = Counter(prompt.category for prompt in read_prompts([path]))
    found = [_results(run / names[""]) for names in folders(recipe)]
    capabilities = [one["capabilities"] for one in found]
    by_category: Json = {}
    for category in capabilities[0]["by_category"]:
        values = {
            arm: [one["by_category"][category][arm] for one in capabilities]
            for arm in (BEFORE, *ARMS)
        }
        by_category[category] = {
            "asked": asked[category],
            "prompts": capabilities[0]["prompts"][category],
            **_compared(values),
        }
    return {
        "measure": capabilities[0]["measure"],
        "categories": by_category,
        **{
            what: {
                arm: [_results(run / names[arm])[what] for names in folders(recipe)] for arm in ARMS
            }
            for what in ("targets", "steps")
        },
        "paired": [one["paired"] for one in found],
    }


def _compared(values: dict[str, list[float]]) -> Json:
    """Each arm over the seeds, with its paired differences from both that have no bag."""
    longer = over_seeds(values, "longer")
    return {
        arm: {**found, "minus_longer": longer[arm]["minus_longer"]}
        for arm, found in over_seeds(values, "newest").items()
    }


def _results(folder: Path) -> Json:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))
