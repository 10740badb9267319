"""The stations of the road: which stage reads what of which earlier stage.

Here the ones that come once; those of the RLHF versions are in `version_stations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arriero.records import UserError
from arriero.records.prompt import Track
from arriero.road.base import base_files, fetched_base
from arriero.road.files import RunFiles
from arriero.road.inputs import Inputs, draw_world, external_files, few_shot, prepare, read_once
from arriero.road.manifest import hash_inputs
from arriero.road.names import (
    INPUTS,
    PRETRAIN,
    TOKENIZER,
    TRACKS,
    StationNames,
    VersionsConfig,
    station_names,
)
from arriero.road.recipe import Recipe, load_recipe
from arriero.road.run import Step
from arriero.road.version_stations import VersionStations, keys_of
from arriero.stages import corpus, evaluate, pretrain, sft, tokenizer
from arriero.stages.workspace import Workspace


def names_of(recipe: Recipe) -> StationNames:
    """The folders of a recipe's run."""
    is_world = recipe.data.source == "world"
    has_ghost = not is_world or recipe.data.world.attribute_dialogs > 0
    world = recipe.data.world
    has_general = world.general_comparisons > 0 if is_world else bool(recipe.data.general)
    return station_names(
        recipe.versions, has_ghost=has_ghost, has_general=has_general, collects=is_world
    )


def names_in(run: Path) -> StationNames:
    """The folders of a run by its own recipe; those of a single version where none can be read."""
    try:
        return names_of(load_recipe(str(run / "recipe.toml")))
    except UserError:
        return station_names(VersionsConfig())


def stations(recipe: Recipe, run: Path) -> list[Step]:
    """All steps of a recipe in order, with their inputs bound."""
    inputs = prepare(recipe.data, run / INPUTS)
    names = names_of(recipe)
    files = RunFiles(run, recipe, inputs, names)
    versions = VersionStations(recipe, run, inputs, names, files)
    return [
        _inputs(recipe, inputs),
        tokenizer_step(recipe, inputs),
        _pretrain(recipe, run, inputs),
        *(_sft(recipe, run, inputs, number, name) for number, name in enumerate(names.sft, 1)),
        *versions.steps(),
        _evaluate(recipe, run, inputs, names, files),
    ]


def _inputs(recipe: Recipe, inputs: Inputs) -> Step:
    external = external_files(inputs)
    num_versions = recipe.versions.rlhf

    def run(space: Workspace) -> None:
        if inputs.world is not None:
            world = recipe.data.world
            draw_world(world, space, by_source=bool(inputs.sources), versions=num_versions)
        else:
            read_once(inputs, space)

    return Step(
        INPUTS,
        "inputs",
        # Tests of consistency are read by their study alone.
        {
            "versions": num_versions,
            **recipe.data.model_dump(mode="json", exclude={"consistency"}),
        },
        (),
        run,
        external=lambda: hash_inputs(external) if external else "",
    )


def tokenizer_step(recipe: Recipe, inputs: Inputs) -> Step:
    """The tokenizer of the recipe: trained on the inputs, or that of the base it starts from."""

    def run(space: Workspace) -> None:
        if recipe.base:
            tokenizer.adopt(
                fetched_base(recipe.base, recipe.model),
                corpus=inputs.corpus,
                context=recipe.model.context,
                workspace=space,
            )
            return
        tokenizer.run(
            recipe.tokenizer,
            vocab_size=recipe.model.vocab_size,
            corpus=inputs.corpus,
            instructions=inputs.instructions,
            workspace=space,
        )

    return Step(
        TOKENIZER,
        "tokenizer",
        {"vocab_size": recipe.model.vocab_size, **keys_of(recipe.tokenizer)},
        (INPUTS,),
        run,
        external=lambda: _base_hash(recipe),
    )


def _base_hash(recipe: Recipe) -> str:
    """Of the files of the model that a run starts from; empty where it starts from none."""
    if not recipe.base:
        return ""
    folder = fetched_base(recipe.base, recipe.model)
    return hash_inputs({"base": base_files(recipe.base, folder)})


def _pretrain(recipe: Recipe, run: Path, inputs: Inputs) -> Step:
    return Step(
        PRETRAIN,
        "pretrain",
        {"model": keys_of(recipe.model), **keys_of(recipe.pretrain)},
        (INPUTS, TOKENIZER),
        lambda space: pretrain.run(
            recipe.pretrain,
            model_config=recipe.model,
            corpus=inputs.corpus,
            sources=inputs.sources,
            tokenizer_folder=run / TOKENIZER / "model",
            start=fetched_base(recipe.base, recipe.model) if recipe.base else None,
            workspace=space,
        ),
        external=lambda: _base_hash(recipe),
        is_parallel=True,
        mend=lambda space: corpus.mend(
            corpus=inputs.corpus,
            sources=inputs.sources,
            tokenizer_folder=run / TOKENIZER / "model",
            workspace=space,
        ),
    )


def _sft(recipe: Recipe, run: Path, inputs: Inputs, number: int, name: str) -> Step:
    """One SFT version: the last one learns from all demonstrations, the one before from some."""
    share = 1.0 if number == recipe.versions.sft else recipe.versions.first_share
    return Step(
        name,
        "sft",
        {"share": share, "max_dialogs": recipe.data.max_dialogs, **keys_of(recipe.sft)},
        (INPUTS, PRETRAIN),
        lambda space: sft.run(
            recipe.sft,
            base=run / PRETRAIN / "model",
            instructions=inputs.instructions,
            corpus_shard=run / PRETRAIN / "shard",
            max_dialogs=recipe.data.max_dialogs or None,
            share=share,
            workspace=space,
        ),
        is_parallel=True,
    )


def _evaluate(
    recipe: Recipe, run: Path, inputs: Inputs, names: StationNames, files: RunFiles
) -> Step:
    """All versions, judged by the newest reward models, which then stay as they are."""
    last = names.versions[-1]

    def comparisons(track: Track) -> Path:
        return files.comparisons(track, "test", last.number)[-1]

    def work(space: Workspace) -> None:
        policies: Mapping[str, Path] = {
            _short(name): run / name / "model" for name in names.policies()
        }
        evaluate.run(
            recipe.evaluate,
            evaluate.EvaluateInputs(
                base=run / PRETRAIN / "model",
                base_shard=run / PRETRAIN / "shard",
                versions=policies,
                sets=files.test_sets(),
                rewards=(
                    run / last.rewards["helpfulness"] / "model",
                    run / last.rewards["safety"] / "model",
                ),
                comparisons={track: comparisons(track) for track in TRACKS},
                few_shot=few_shot(run / INPUTS),
                baseline=_short(names.sft[-1]),
            ),
            oracle=inputs.oracle(),
            pretraining=recipe.pretrain,
            workspace=space,
        )

    needs = (INPUTS, PRETRAIN, *names.sft, last.preferences, *last.rewards.values())
    needs += tuple(name for name in names.policies() if name not in names.sft)
    return Step(names.evaluate, "evaluate", keys_of(recipe.evaluate), needs, work)


def _short(folder: str) -> str:
    """A version's name in the evaluation: `12-rejection-v2` is `rejection-v2`."""
    return folder.split("-", 1)[1]
