"""The stations of the road: which stage reads what of which earlier stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from arriero.alignment.bag import bag_identity
from arriero.records.prompt import Track
from arriero.road.base import base_files, fetched_base
from arriero.road.inputs import (
    TEST_SETS,
    Inputs,
    draw_world,
    external_files,
    few_shot,
    open_set,
    prepare,
    prompts_of,
    read_once,
)
from arriero.road.manifest import hash_inputs
from arriero.road.recipe import Recipe
from arriero.road.run import Step
from arriero.stages import (
    adoption,
    corpus,
    evaluate,
    ppo,
    preferences,
    pretrain,
    rejection,
    reward,
    sft,
    tokenizer,
)
from arriero.stages.workspace import Workspace

INPUTS = "00-inputs"
TOKENIZER = "01-tokenizer"
PRETRAIN = "02-pretrain"
SFT = "03-sft"
PREFERENCES = "04-preferences-v1"
REWARDS: dict[Track, str] = {
    "helpfulness": "05-reward-helpfulness-v1",
    "safety": "06-reward-safety-v1",
}
REJECTION = "07-rejection-v1"
PPO = "08-ppo-v1"
EVALUATE = "09-evaluate"

# The folders of a whole run, in order.
STAGES = (
    INPUTS,
    TOKENIZER,
    PRETRAIN,
    SFT,
    PREFERENCES,
    *REWARDS.values(),
    REJECTION,
    PPO,
    EVALUATE,
)

VERBS = ("tokenizer", "pretrain", "sft", "preferences", "reward", "rejection", "ppo", "evaluate")


def stations(recipe: Recipe, run: Path) -> list[Step]:
    """All steps of a recipe in order, with their inputs bound."""
    inputs = prepare(recipe.data, run / INPUTS)
    rewards = (run / REWARDS["helpfulness"] / "model", run / REWARDS["safety"] / "model")
    files = _Files(run, recipe, inputs)
    return [
        _inputs(recipe, inputs),
        tokenizer_step(recipe, inputs),
        Step(
            PRETRAIN,
            "pretrain",
            {"model": _config(recipe.model), **_config(recipe.pretrain)},
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
        ),
        Step(
            SFT,
            "sft",
            {"max_dialogs": recipe.data.max_dialogs, **_config(recipe.sft)},
            (INPUTS, PRETRAIN),
            lambda space: sft.run(
                recipe.sft,
                base=run / PRETRAIN / "model",
                instructions=inputs.instructions,
                corpus_shard=run / PRETRAIN / "shard",
                max_dialogs=recipe.data.max_dialogs or None,
                workspace=space,
            ),
            is_parallel=True,
        ),
        _preferences(recipe, run, inputs),
        *(_reward(recipe, run, files, track) for track in REWARDS),
        Step(
            REJECTION,
            "rejection",
            _config(recipe.rejection),
            (INPUTS, PRETRAIN, SFT, PREFERENCES, *REWARDS.values()),
            lambda space: rejection.run(
                recipe.rejection,
                base=run / PRETRAIN / "model",
                policy=run / SFT / "model",
                rewards=rewards,
                prompts=[files.prompts("rejection")],
                instructions=inputs.instructions,
                corpus_shard=run / PRETRAIN / "shard",
                workspace=space,
            ),
            external=lambda: _bag_of_others(recipe),
            is_parallel=True,
        ),
        Step(
            PPO,
            "ppo",
            _config(recipe.ppo),
            (INPUTS, PREFERENCES, *REWARDS.values(), REJECTION),
            lambda space: ppo.run(
                recipe.ppo,
                start=run / REJECTION / "model",
                rewards=rewards,
                prompts=[files.prompts("ppo")],
                held_out=[files.prompts("held_out")],
                workspace=space,
            ),
            is_parallel=True,
        ),
        _evaluate(recipe, run, inputs, files, rewards),
    ]


class _Files:
    """Where prompts and comparisons of a run lie: drawn with the world, or kept back from files."""

    def __init__(self, run: Path, recipe: Recipe, inputs: Inputs) -> None:
        self._inputs, self._preferences = run / INPUTS, run / PREFERENCES
        world = recipe.data.world
        self._has_open_sets = inputs.world is not None and world.open_comparisons > 0
        self._prompts = self._preferences if inputs.world is None else self._inputs
        self._has_world = inputs.world is not None

    def prompts(self, split: str) -> Path:
        """Prompts of `rejection`, `ppo` or `held_out`."""
        return self._prompts / f"prompts-{split}.jsonl"

    def comparisons(self, track: Track, split: str) -> Path:
        """Comparisons of `train` or `test`."""
        return self._preferences / f"{track}-{split}.jsonl"

    def training(self, track: Track) -> list[Path]:
        """All comparisons that reward models may learn from."""
        crowd = open_set(self._inputs, track)
        return [self.comparisons(track, "train"), *([crowd] if self._has_open_sets else [])]

    def test_sets(self) -> Mapping[str, Path]:
        """Prompt files of the final evaluation by name."""
        names = TEST_SETS if self._has_world else tuple(REWARDS)
        return {name: self._prompts / f"prompts-test-{name}.jsonl" for name in names}


def _config(config: BaseModel) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _inputs(recipe: Recipe, inputs: Inputs) -> Step:
    external = external_files(inputs)

    def run(space: Workspace) -> None:
        if inputs.world is not None:
            draw_world(recipe.data.world, space, by_source=bool(inputs.sources))
        else:
            read_once(inputs, space)

    return Step(
        INPUTS,
        "inputs",
        _config(recipe.data),
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
        {"vocab_size": recipe.model.vocab_size, **_config(recipe.tokenizer)},
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


def _bag_of_others(recipe: Recipe) -> str:
    """Of the samples of another run that rejection sampling learns from; empty for none."""
    folder = recipe.rejection.samples_from
    return bag_identity(Path(folder).expanduser()) if folder else ""


def _preferences(recipe: Recipe, run: Path, inputs: Inputs) -> Step:
    def work(space: Workspace) -> None:
        if inputs.world is None:
            adoption.adopt(
                recipe.preferences,
                files={"helpfulness": inputs.helpfulness, "safety": inputs.safety},
                tests=inputs.tests,
                tokenizer_folder=run / TOKENIZER / "model",
                context=recipe.model.context,
                workspace=space,
            )
            return
        folder = run / INPUTS
        preferences.collect(
            recipe.preferences,
            variants=(run / SFT / "model", run / SFT / "early"),
            prompts={
                "train": prompts_of(folder / "prompts-preferences.jsonl"),
                "test": prompts_of(folder / "prompts-comparisons.jsonl"),
            },
            annotators=inputs.annotators(),
            workspace=space,
        )

    config = _config(recipe.preferences)
    if inputs.world is None:
        return Step(
            PREFERENCES,
            "preferences",
            {"context": recipe.model.context, **config},
            (INPUTS, TOKENIZER),
            work,
        )
    return Step(PREFERENCES, "preferences", config, (INPUTS, SFT), work)


def _reward(recipe: Recipe, run: Path, files: _Files, track: Track) -> Step:
    return Step(
        REWARDS[track],
        "reward",
        {"mix": _config(recipe.mix), **_config(recipe.reward)},
        (INPUTS, SFT, PREFERENCES),
        lambda space: reward.run(
            recipe.reward,
            track=track,
            mix=recipe.mix,
            start=run / SFT / "model",
            train={name: files.training(name) for name in REWARDS},
            test={name: [files.comparisons(name, "test")] for name in REWARDS},
            workspace=space,
        ),
        is_parallel=True,
    )


def _evaluate(
    recipe: Recipe, run: Path, inputs: Inputs, files: _Files, rewards: tuple[Path, Path]
) -> Step:
    def work(space: Workspace) -> None:
        evaluate.run(
            recipe.evaluate,
            evaluate.EvaluateInputs(
                base=run / PRETRAIN / "model",
                base_shard=run / PRETRAIN / "shard",
                versions={
                    "sft": run / SFT / "model",
                    "rejection-v1": run / REJECTION / "model",
                    "ppo-v1": run / PPO / "model",
                },
                sets=files.test_sets(),
                rewards=rewards,
                comparisons={track: files.comparisons(track, "test") for track in REWARDS},
                few_shot=few_shot(run / INPUTS),
            ),
            oracle=inputs.oracle(),
            pretraining=recipe.pretrain,
            workspace=space,
        )

    needs = (INPUTS, PRETRAIN, SFT, PREFERENCES, *REWARDS.values(), REJECTION, PPO)
    return Step(EVALUATE, "evaluate", _config(recipe.evaluate), needs, work)
