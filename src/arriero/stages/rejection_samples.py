"""The samples of rejection sampling: drawn at the best temperature, scored, kept in the bag.

On the ranks of a job each has the whole policy and samples some of the prompts of a part; the
reward models lie in shares. A stage that was stopped goes on after the last whole part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arriero.alignment.bag import FOLDER, Origin, Samples, part_of, read_part, write_part
from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.data.prompts import read_prompts
from arriero.inference.generate import Sampling
from arriero.model.weights import weights_identity
from arriero.records import Prompt, Stopped, UserError
from arriero.stages.rejection_config import RejectionConfig
from arriero.stages.rejection_scores import (
    finite_composite,
    name_not_finite,
    open_judges,
    refuse_broken,
    reward_curves,
)
from arriero.stages.sampling import Answer, Answering, ChatModel, composite_scores
from arriero.stages.served import Served
from arriero.stages.workspace import Workspace, write_json
from arriero.training.meters import TimeLeft
from arriero.training.stopping import StopRequest, stop_requests

_PROMPTS_A_PART = 256
_PROMPTS_CHECKED = 16


@dataclass(frozen=True)
class Found:
    """The samples of the newest version, and what they were sampled at.

    Attributes:
        too_long: prompts that left no room for an answer.
    """

    rows: list[Samples]
    temperature: float
    by_temperature: list[dict[str, Any]]
    too_long: int


@dataclass(frozen=True)
class Sampler:
    """What samples and scores: the policy whole on every rank or in a server, the reward models in
    shares."""

    config: RejectionConfig
    chat: Answering
    judges: RewardModels
    origin: Origin
    workspace: Workspace
    stop: StopRequest

    def sampled(
        self, temperature: float, prompts: Sequence[Prompt], first_key: int, seed: int
    ) -> list[Samples]:
        """K samples of each prompt with their scores, the same on every rank.

        Raises:
            Stopped: a rank was asked to stop.
        """
        count = self.config.samples_per_prompt
        answers = self.chat.answers(
            prompts,
            Sampling(temperature=temperature, max_new_tokens=self.config.max_new_tokens),
            seed=seed,
            num_samples=count,
            max_rows=self.config.max_rows,
            first_key=first_key,
            ranks=self.workspace.ranks,
            stop=self.stop,
        )
        tagged = torch.tensor([prompt.track == "safety" for prompt in prompts])
        flat = [answer for samples in answers for answer in samples]
        scores = composite_scores(
            self.judges, flat, tagged.repeat_interleave(count), self.workspace.ranks
        )
        name_not_finite(scores, [prompt.id for prompt in prompts], self.workspace)
        origin = replace(self.origin, temperature=temperature)
        return _rows(prompts, answers, scores, origin)


def draw(
    config: RejectionConfig,
    policy: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    origin: Origin,
    workspace: Workspace,
) -> Found:
    """Sample and score on all ranks; the models are let go of before the fine-tuning.

    Args:
        origin: of the samples; its policy, tokenizer and temperature are filled in here.

    Raises:
        Stopped: a rank was asked to stop; the parts that are done stay.
        UserError: a folder or the server is not what it should be, a reward model has another
            tokenizer or gives no finite score, or no prompt leaves room for an answer.
    """
    ranks = workspace.ranks
    chat = _opened(config, policy, prompts, workspace)
    judges = open_judges(rewards, chat.tokenizer, workspace)
    usable, too_long = _with_room(config, chat, prompts, workspace)
    identity = ranks.agreed(weights_identity(policy) if ranks.is_first else "")
    origin = replace(origin, policy=identity, tokenizer=chat.tokenizer.fingerprint)
    with stop_requests() as stop:
        sampler = Sampler(config, chat, judges, origin, workspace, stop)
        temperature, by_temperature = _fit_temperature(sampler, usable)
        numbers = range(math.ceil(len(usable) / _PROMPTS_A_PART))
        num_there = sum(part_of(workspace.folder, number) is not None for number in numbers)
        left = TimeLeft(len(usable), min(len(usable), num_there * _PROMPTS_A_PART))
        rows: list[Samples] = []
        for number in numbers:
            part = ranks.agreed(_kept(sampler, number, temperature))
            rows += read_part(part or _add_part(sampler, temperature, usable, number, left))
        if signal := ranks.most(stop.signal or 0):
            raise Stopped(signal)
    return Found(rows, temperature, by_temperature, too_long)


def _opened(
    config: RejectionConfig, policy: Path, prompts: Sequence[Path], workspace: Workspace
) -> Answering:
    """The policy whole on every rank, or in a server."""
    if not config.sampler_url:
        return ChatModel.load(policy, workspace.device)
    few = list(islice(read_prompts(prompts), _PROMPTS_CHECKED))
    return Served.of_folder(policy, config.sampler_url, few, workspace)


def _with_room(
    config: RejectionConfig, chat: Answering, paths: Sequence[Path], workspace: Workspace
) -> tuple[list[Prompt], int]:
    """The prompts that leave room for an answer, in a random order, and how many do not."""
    prompts = list(read_prompts(paths))
    usable = chat.fitting(prompts, config.max_new_tokens)
    if too_long := len(prompts) - len(usable):
        kept = set(usable)
        first = next(prompt.id for prompt in prompts if prompt not in kept)
        workspace.say(
            f"{too_long} of {len(prompts)} prompts leave no room for {config.max_new_tokens} "
            f"tokens and are skipped, {first} first"
        )
    order = np.random.default_rng(workspace.seed).permutation(len(usable))
    return [usable[index] for index in order[: config.max_prompts or None]], too_long


def _fit_temperature(
    sampler: Sampler, prompts: Sequence[Prompt]
) -> tuple[float, list[dict[str, Any]]]:
    """The temperature whose best of K scores highest on a few prompts (Figure 8).

    It is kept beside the samples: a stopped stage goes on at the same one.
    """
    config, workspace = sampler.config, sampler.workspace
    if len(config.temperatures) == 1:
        return config.temperatures[0], []
    path = workspace.folder / FOLDER / "temperature.json"
    if workspace.ranks.agreed(path.exists()):
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["temperature"], kept["curves"]
    few = prompts[: config.fitting_prompts]
    curves: list[dict[str, Any]] = []
    for temperature in config.temperatures:
        rows = sampler.sampled(temperature, few, 0, workspace.seed + 1)
        refuse_broken(rows)
        maxima, _ = reward_curves(rows)
        if not len(maxima):
            raise UserError(
                f"at temperature {temperature:g} every one of {len(few)} prompts has an answer "
                "without a finite score; train the reward models again, at a lower rate"
            )
        curves.append(
            {
                "temperature": temperature,
                "max_mean": float(maxima[-1]),
                "by_n": [float(value) for value in maxima],
            }
        )
    best = max(curves, key=lambda curve: curve["max_mean"])
    workspace.say(f"best temperature {best['temperature']} of {list(config.temperatures)}")
    if workspace.ranks.is_first:
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"temperature": best["temperature"], "curves": curves})
    return best["temperature"], curves


def _kept(sampler: Sampler, number: int, temperature: float) -> Path | None:
    """A part that is there already; what is damaged, or another policy's, goes.

    The first rank alone looks.
    """
    workspace = sampler.workspace
    part = part_of(workspace.folder, number) if workspace.ranks.is_first else None
    if part is None:
        return None
    try:
        if read_part(part)[0].origin == replace(sampler.origin, temperature=temperature):
            return part
        workspace.say(f"{part}: samples of another policy; its prompts are sampled again")
    except UserError:
        workspace.say(f"{part}: damaged; its prompts are sampled again")
    part.unlink()
    return None


def _add_part(
    sampler: Sampler, temperature: float, prompts: Sequence[Prompt], number: int, left: TimeLeft
) -> Path:
    """Sample and score a part of the prompts, and put it into the bag."""
    config, workspace = sampler.config, sampler.workspace
    begin = number * _PROMPTS_A_PART
    members = prompts[begin : begin + _PROMPTS_A_PART]
    rows = sampler.sampled(temperature, members, begin, workspace.seed)
    if not number:
        refuse_broken(rows)
    is_first = workspace.ranks.is_first
    part = workspace.ranks.agreed(write_part(workspace.folder, number, rows) if is_first else None)
    assert part is not None
    scores = torch.tensor([row.scores for row in rows]).nan_to_num(nan=-torch.inf)
    finite = scores[scores.isfinite()]
    best = scores.max(dim=1).values
    workspace.say(
        f"{begin + len(members)}/{len(prompts)} prompts sampled, "
        f"mean {float(finite.mean()):.2f}, best of {config.samples_per_prompt} "
        f"{float(best[best.isfinite()].mean()):.2f}  {left.after(begin + len(members))}"
    )
    workspace.show(members[0].messages[-1].content, rows[0].answers[int(scores[0].argmax())])
    return part


def _rows(
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[Answer]],
    scores: CompositeScores,
    origin: Origin,
) -> list[Samples]:
    shape = (len(prompts), -1)
    return [
        Samples(
            prompt,
            tuple(answer.text for answer in samples),
            tuple(answer.completion.ended for answer in samples),
            *map(tuple, of_models),
            origin=origin,
        )
        for prompt, samples, *of_models in zip(
            prompts,
            answers,
            scores.helpfulness.view(shape).tolist(),
            scores.safety.view(shape).tolist(),
            finite_composite(scores).view(shape).tolist(),
            strict=True,
        )
    ]
