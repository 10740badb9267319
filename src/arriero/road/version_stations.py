"""The stations of the RLHF versions: fresh comparisons, new reward models, a new policy each.

A version's comparisons are sampled from the newest policy and the one before it, its reward models
learn from all comparisons so far, and its policy starts again from the base model (section 3.2.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from arriero.alignment.bag import bag_identity
from arriero.records.prompt import Track
from arriero.road.files import RunFiles
from arriero.road.inputs import Inputs, prompts_of
from arriero.road.names import INPUTS, PRETRAIN, TOKENIZER, TRACKS, StationNames, VersionNames
from arriero.road.recipe import Recipe
from arriero.road.run import Step
from arriero.stages import adoption, ghost, ppo, preferences, rejection, reward
from arriero.stages.reward_mix import MixConfig, TrackMix
from arriero.stages.workspace import Workspace

# Of `evaluate.judge`.
_PATIENCE = ("timeout", "attempts", "parallel")


@dataclass(frozen=True)
class VersionStations:
    """Makes the steps of all versions of a run."""

    recipe: Recipe
    run: Path
    inputs: Inputs
    names: StationNames
    files: RunFiles

    def steps(self) -> list[Step]:
        """Version by version; what two of them share is made once."""
        found: dict[str, Step] = {}
        for version in self.names.versions:
            for step in self._of(version):
                found.setdefault(step.name, step)
        return list(found.values())

    def _of(self, version: VersionNames) -> Iterator[Step]:
        if self.inputs.world is None:
            yield self._adopted(version)
        else:
            yield self._collected(version)
        for track in TRACKS:
            yield self._reward(version, track)
        if version.ghost:
            yield self._ghost(version, version.ghost)
        yield self._rejection(version)
        if version.ppo:
            if self.names.general:
                yield self._general(version, self.names.general)
            yield self._ppo(version, version.ppo)

    def _model(self, name: str) -> Path:
        return self.run / name / "model"

    def _rewards(self, version: VersionNames) -> tuple[Path, Path]:
        rewards = version.rewards
        return self._model(rewards["helpfulness"]), self._model(rewards["safety"])

    def _variants(self, version: VersionNames) -> tuple[tuple[Path, Path], tuple[str, ...]]:
        """The two models that answer, the newest first, and the stages that they come from."""
        policies = self.names.policies(before=version.number)
        newest = self._model(policies[-1])
        if len(policies) == 1:
            # No version came before: the same one at four fifths of its steps.
            return (newest, self.run / policies[-1] / "early"), (policies[-1],)
        return (newest, self._model(policies[-2])), (policies[-2], policies[-1])

    def _collected(self, version: VersionNames) -> Step:
        variants, needs = self._variants(version)
        files, is_only = self.files, len(self.names.versions) == 1

        def work(space: Workspace) -> None:
            preferences.collect(
                self.recipe.preferences,
                variants=variants,
                prompts={
                    "train": prompts_of(files.prompts("preferences", version.number)),
                    "test": prompts_of(files.prompts("comparisons", version.number)),
                },
                annotators=self.inputs.annotators(),
                workspace=space,
                batch="" if is_only else f"v{version.number}",
            )

        config = keys_of(self.recipe.preferences)
        return Step(version.preferences, "preferences", config, (INPUTS, *needs), work)

    def _adopted(self, version: VersionNames) -> Step:
        inputs, recipe = self.inputs, self.recipe

        def work(space: Workspace) -> None:
            adoption.adopt(
                recipe.preferences,
                files={"helpfulness": inputs.helpfulness, "safety": inputs.safety},
                tests=inputs.tests,
                tokenizer_folder=self._model(TOKENIZER),
                context=recipe.model.context,
                workspace=space,
                versions=len(self.names.versions),
            )

        config = {"context": recipe.model.context, **keys_of(recipe.preferences)}
        return Step(version.preferences, "preferences", config, (INPUTS, TOKENIZER), work)

    def _reward(self, version: VersionNames, track: Track) -> Step:
        recipe, files = self.recipe, self.files
        start = self.names.policies(before=version.number)[-1]
        collected = [one.preferences for one in self.names.versions if one.number <= version.number]
        return Step(
            version.rewards[track],
            "reward",
            {"mix": keys_of(recipe.mix), **keys_of(recipe.reward)},
            (INPUTS, start, *dict.fromkeys(collected)),
            lambda space: reward.run(
                recipe.reward,
                track=track,
                mix=recipe.mix,
                start=self._model(start),
                train={name: files.training(name, version.number) for name in TRACKS},
                test={name: files.comparisons(name, "test", version.number) for name in TRACKS},
                workspace=space,
            ),
            is_parallel=True,
        )

    def _general(self, version: VersionNames, name: str) -> Step:
        """A reward model of open data alone, tried on the comparisons of the versions so far."""
        recipe, files = self.recipe, self.files
        start = self.names.sft[-1]
        compared = [one.preferences for one in self.names.versions if one.number <= version.number]
        mix = MixConfig(helpfulness=TrackMix(all=("own",), rest=(), rest_share=0.0))
        return Step(
            name,
            "reward",
            keys_of(recipe.reward),
            (INPUTS, start, *dict.fromkeys(compared)),
            lambda space: reward.run(
                recipe.reward,
                track="helpfulness",
                mix=mix,
                start=self._model(start),
                train=self.inputs.general,
                test={name: files.comparisons(name, "test", version.number) for name in TRACKS},
                workspace=space,
            ),
            is_parallel=True,
        )

    def _ghost(self, version: VersionNames, name: str) -> Step:
        recipe = self.recipe
        policy = self.names.policies(before=version.number)[-1]
        return Step(
            name,
            "ghost",
            keys_of(recipe.ghost),
            (INPUTS, policy),
            lambda space: ghost.run(
                recipe.ghost,
                policy=self._model(policy),
                prompts=self.inputs.ghost,
                workspace=space,
            ),
            is_parallel=True,
        )

    def _rejection(self, version: VersionNames) -> Step:
        recipe = self.recipe
        policy = self.names.policies(before=version.number)[-1]
        has_bag = version.number >= recipe.versions.bag_from
        earlier = [one.rejection for one in self.names.versions if one.number < version.number]
        bags = earlier if has_bag else []
        ghosts = [version.ghost] if version.ghost else []
        needs = (INPUTS, PRETRAIN, policy, version.preferences, *version.rewards.values())
        return Step(
            version.rejection,
            "rejection",
            keys_of(recipe.rejection),
            tuple(dict.fromkeys((*needs, *bags, *ghosts))),
            lambda space: rejection.run(
                recipe.rejection,
                base=self._model(PRETRAIN),
                policy=self._model(policy),
                rewards=self._rewards(version),
                prompts=[self.files.prompts("rejection", version.number)],
                instructions=self.inputs.instructions,
                corpus_shard=self.run / PRETRAIN / "shard",
                workspace=space,
                bags=[self.run / name for name in bags],
                ghost=[self.run / name / "dialogs.jsonl" for name in ghosts],
                version=f"v{version.number}",
            ),
            external=lambda: _bag_of_others(recipe),
            is_parallel=True,
        )

    def _ppo(self, version: VersionNames, name: str) -> Step:
        recipe, general = self.recipe, self.names.general
        needs = (INPUTS, version.preferences, *version.rewards.values(), version.rejection)
        return Step(
            name,
            "ppo",
            keys_of(recipe.ppo),
            (*needs, general) if general else needs,
            lambda space: ppo.run(
                recipe.ppo,
                start=self._model(version.rejection),
                rewards=self._rewards(version),
                prompts=[self.files.prompts("ppo", version.number)],
                held_out=[self.files.held_out()],
                workspace=space,
                general=self._model(general) if general else None,
            ),
            is_parallel=True,
        )


def _bag_of_others(recipe: Recipe) -> str:
    """Of the samples of another run that rejection sampling learns from; empty for none."""
    folder = recipe.rejection.samples_from
    return bag_identity(Path(folder).expanduser()) if folder else ""


def keys_of(config: BaseModel) -> dict[str, Any]:
    """The keys of a stage as its hash takes them.

    Whether a server samples is one of them, where it listens is not, nor is the patience with a
    judge: to move the one or to wait longer for the other undoes no work.
    """
    keys = config.model_dump(mode="json")
    if "sampler_url" in keys:
        keys["sampler_url"] = bool(keys["sampler_url"])
    if "judge" in keys:
        keys["judge"] = {k: v for k, v in keys["judge"].items() if k not in _PATIENCE}
    return keys
