"""The trainings of a study: every variant from every seed, each a step with a manifest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from arriero.data.preferences import read_preferences
from arriero.data.writing import write_preferences
from arriero.records.prompt import Track
from arriero.road.ablation.rewards.material import Material
from arriero.road.recipe import Recipe
from arriero.road.report.wording import duration
from arriero.road.run import Step
from arriero.stages import reward
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig
from arriero.stages.workspace import Workspace

# The stations before the rewards have the numbers to 04.
_FIRST = 5
_TRAIN = "train.jsonl"


@dataclass(frozen=True)
class Variant:
    """One way to train a reward model.

    Attributes:
        name: as in the folder's name: lower case, digits, dashes.
        chat: which of the material's chat models it starts from.
        share: of the own track's comparisons that it may learn from, drawn by the seed.
    """

    name: str
    track: Track
    config: RewardConfig
    mix: MixConfig
    chat: str
    share: float = 1.0

    def folder(self, number: int, seed: int) -> str:
        """The name of its step."""
        return f"{number:02d}-reward-{self.name}-seed{seed}"


def folders(variants: Sequence[Variant], seeds: int) -> dict[str, list[str]]:
    """Names of the steps of each variant by seed; seed after seed, so that a stopped study has
    whole comparisons."""
    named: dict[str, list[str]] = {variant.name: [] for variant in variants}
    number = _FIRST
    for seed in range(seeds):
        for variant in variants:
            named[variant.name].append(variant.folder(number, seed))
            number += 1
    return named


def training_steps(recipe: Recipe, variants: Sequence[Variant], material: Material) -> list[Step]:
    """A step for every variant and seed."""
    seeds = recipe.ablation.seeds
    names = folders(variants, seeds)
    clock = _Clock(len(variants) * seeds)
    return [
        Step(
            names[variant.name][seed],
            "reward",
            {
                "variant": variant.name,
                "track": variant.track,
                "share": variant.share,
                "chat": variant.chat,
                "offset": seed,
                "mix": variant.mix.model_dump(mode="json"),
                **variant.config.model_dump(mode="json"),
            },
            (),
            _training(recipe, variant, material, seed, clock),
            external=material.hash,
        )
        for seed in range(seeds)
        for variant in variants
    ]


class _Clock:
    """How long the trainings that are left will take, by those that are done."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.spent: list[float] = []

    def line(self) -> str:
        left = self.total - len(self.spent)
        rest = f"; at most about {duration(statistics.fmean(self.spent) * left)} left"
        return f"model {len(self.spent)} is trained{rest if left else ''}"


def _training(
    recipe: Recipe, variant: Variant, material: Material, seed: int, clock: _Clock
) -> Callable[[Workspace], None]:
    def work(space: Workspace) -> None:
        began = time.perf_counter()
        space = replace(space, seed=recipe.seed + seed)
        train = material.learned(recipe)
        if variant.share < 1:
            path = space.folder / _TRAIN
            _draw_share(variant, train[variant.track], path, space.seed)
            train[variant.track] = [path]
        reward.run(
            variant.config,
            track=variant.track,
            mix=variant.mix,
            start=material.chats[variant.chat],
            train=train,
            test=material.test,
            workspace=space,
        )
        clock.spent.append(time.perf_counter() - began)
        space.say(clock.line())

    return work


def _draw_share(variant: Variant, paths: Sequence[Path], to: Path, seed: int) -> None:
    """The first part of one order of all comparisons: a larger share holds the smaller ones."""
    rows = list(read_preferences(paths, track=variant.track))
    order = np.random.default_rng(seed).permutation(len(rows))
    count = max(1, round(variant.share * len(rows)))
    write_preferences(to, [rows[place] for place in order[:count]])
