"""Stage `rejection`: rejection sampling (section 3.2.3).

K samples a prompt from the newest model, the best by the composite score is the new target, and the
base model is fine-tuned on the targets with demonstrations in the mix. Samples are kept with their
scores, part by part, so that a stopped stage goes on where it was.

On the ranks of a job each has the whole policy and samples some of the prompts of a part; the
reward models lie in shares.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from arriero.alignment.scoring import RewardModels
from arriero.data.dialogs import read_dialogs
from arriero.data.prompts import read_prompts
from arriero.data.writing import write_dialogs
from arriero.equations.best_of import best_index, expected_max_of_n
from arriero.inference.generate import Sampling
from arriero.records import Dialog, Prompt, Stopped, UserError
from arriero.stages.placement import read_score_model
from arriero.stages.sampling import Answer, ChatModel, composite_scores
from arriero.stages.sft import SftConfig, fine_tune
from arriero.stages.workspace import Workspace, write_json
from arriero.training.meters import TimeLeft
from arriero.training.stopping import StopRequest, stop_requests

_PROMPTS_A_PART = 256


class RejectionConfig(BaseModel):
    """Section 3.2.3; the paper draws up to 100 samples and re-fits the temperature a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples_per_prompt: int = Field(default=16, gt=1, description="K, samples a prompt")
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.8, 1.0, 1.2),
        min_length=1,
        description="tried on a few prompts; the best one is used",
    )
    fitting_prompts: int = Field(
        default=64, gt=0, description="prompts that the temperature is fitted on"
    )
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    max_prompts: int = Field(default=0, ge=0, description="most prompts; 0 takes all")
    sft_share: float = Field(
        default=0.3, ge=0, lt=1, description="share of demonstrations in the fine-tuning mix"
    )
    max_rows: int = Field(default=256, gt=0, description="sequences sampled at once")
    sft: SftConfig = Field(default_factory=SftConfig)

    @model_validator(mode="after")
    def _samples_fit(self) -> RejectionConfig:
        if self.samples_per_prompt > self.max_rows:
            raise ValueError(
                f"samples_per_prompt {self.samples_per_prompt} is more than the {self.max_rows} "
                "rows sampled at once; raise max_rows"
            )
        return self


def run(
    config: RejectionConfig,
    *,
    base: Path,
    policy: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    instructions: Sequence[Path],
    workspace: Workspace,
    corpus_shard: Path | None = None,
) -> None:
    """Sample from `policy`, choose by both reward models, fine-tune `base` into `folder/model`."""
    found = _samples(config, policy, rewards, prompts, workspace)
    usable, rows = found.prompts, found.rows
    scores = torch.tensor([row["scores"] for row in rows])
    # An answer that was cut off is a target only where none ended, and is learned without an end.
    ended = torch.tensor([row["ended"] for row in rows])
    eligible = ended | ~ended.any(dim=1, keepdim=True)
    best = best_index(scores.masked_fill(~eligible, -torch.inf)).tolist()
    targets = [
        Dialog(prompt.messages, f"rejection {prompt.category}").answered(
            row["answers"][index], is_cut=not row["ended"][index]
        )
        for prompt, row, index in zip(usable, rows, best, strict=True)
        if row["answers"][index]
    ]
    if workspace.ranks.is_first:
        write_dialogs(workspace.folder / "targets.jsonl", targets)
    demonstrations = _some_demonstrations(config, instructions, len(targets), workspace.seed)
    if not targets:
        raise UserError("rejection sampling: every sampled answer is empty")
    facts = fine_tune(
        config.sft, base, demonstrations + targets, workspace, corpus_shard=corpus_shard
    )
    if not workspace.ranks.is_first:
        return
    maxima, medians = expected_max_of_n(scores)
    workspace.write_results(
        {
            "prompts": len(usable),
            "samples_per_prompt": config.samples_per_prompt,
            "targets": len(targets),
            "ended": float(ended.float().mean()),
            "temperature": found.temperature,
            "temperatures": found.by_temperature,
            "by_n": [
                {"n": n + 1, "max": float(maxima[n]), "median": float(medians[n])}
                for n in range(config.samples_per_prompt)
            ],
            "reward_mean_of_samples": float(scores.mean()),
            "reward_mean_of_best": float(scores.max(dim=1).values.mean()),
            "demonstrations": len(demonstrations),
            "train_loss": facts["train_loss"],
            "valid_loss": facts["valid_loss"],
            "samples": _examples(usable, rows),
        }
    )


@dataclass(frozen=True)
class _Samples:
    """K samples a prompt with their scores, a row a prompt, and what they were sampled at."""

    prompts: list[Prompt]
    rows: list[dict[str, Any]]
    temperature: float
    by_temperature: list[dict[str, Any]]


def _samples(
    config: RejectionConfig,
    policy: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    workspace: Workspace,
) -> _Samples:
    """Sample and score on all ranks; the models are let go of before the fine-tuning.

    Raises:
        Stopped: a rank was asked to stop; the parts that are done stay.
    """
    chat = ChatModel.load(policy, workspace.device)
    judges = RewardModels.read(
        *rewards, chat.tokenizer, lambda f: read_score_model(f, workspace, "float32")
    )
    usable = chat.fitting(list(read_prompts(prompts)), config.max_new_tokens)
    order = np.random.default_rng(workspace.seed).permutation(len(usable))
    usable = [usable[index] for index in order[: config.max_prompts or None]]
    with stop_requests() as stop:
        sampler = _Sampler(config, chat, judges, workspace, stop)
        temperature, by_temperature = _fit_temperature(sampler, usable)
        sampling = Sampling(temperature=temperature, max_new_tokens=config.max_new_tokens)
        begins = range(0, len(usable), _PROMPTS_A_PART)
        num_there = sum(_path_of_part(workspace, begin).exists() for begin in begins)
        left = TimeLeft(len(usable), min(len(usable), num_there * _PROMPTS_A_PART))
        parts = [_part(sampler, sampling, usable, begin, left) for begin in begins]
        if signal := workspace.ranks.most(stop.signal or 0):
            raise Stopped(signal)
    rows = [row for part in parts for row in part]
    return _Samples(usable, rows, temperature, by_temperature)


@dataclass(frozen=True)
class _Sampler:
    """What samples and scores: the policy whole on every rank, the reward models in shares."""

    config: RejectionConfig
    chat: ChatModel
    judges: RewardModels
    workspace: Workspace
    stop: StopRequest

    def sampled(
        self, sampling: Sampling, prompts: Sequence[Prompt], first_key: int, seed: int
    ) -> tuple[list[list[Answer]], torch.Tensor]:
        """Answers [P][K] and their composite scores [P, K], the same on every rank."""
        ranks, count = self.workspace.ranks, self.config.samples_per_prompt
        answers = self.chat.answers(
            prompts,
            sampling,
            seed=seed,
            num_samples=count,
            max_rows=self.config.max_rows,
            first_key=first_key,
            ranks=ranks,
            stop=self.stop,
        )
        tagged = torch.tensor([prompt.track == "safety" for prompt in prompts])
        flat = [answer for samples in answers for answer in samples]
        scores = composite_scores(self.judges, flat, tagged.repeat_interleave(count), ranks)
        return answers, scores.composite.view(len(prompts), count)


def _fit_temperature(
    sampler: _Sampler, prompts: Sequence[Prompt]
) -> tuple[float, list[dict[str, Any]]]:
    """The temperature whose best of K scores highest on a few prompts (Figure 8).

    It is kept beside the samples: a stopped stage goes on at the same one.
    """
    config, workspace = sampler.config, sampler.workspace
    if len(config.temperatures) == 1:
        return config.temperatures[0], []
    path = workspace.folder / "samples" / "temperature.json"
    if workspace.ranks.agreed(path.exists()):
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["temperature"], kept["curves"]
    few = prompts[: config.fitting_prompts]
    curves: list[dict[str, Any]] = []
    for temperature in config.temperatures:
        sampling = Sampling(temperature=temperature, max_new_tokens=config.max_new_tokens)
        _, scores = sampler.sampled(sampling, few, 0, workspace.seed + 1)
        maxima, _ = expected_max_of_n(scores)
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


def _part(
    sampler: _Sampler, sampling: Sampling, prompts: Sequence[Prompt], begin: int, left: TimeLeft
) -> list[dict[str, Any]]:
    """Samples and scores of one part of the prompts, from disk if they are there already."""
    config, workspace = sampler.config, sampler.workspace
    path = _path_of_part(workspace, begin)
    if not workspace.ranks.agreed(path.exists()):
        members = prompts[begin : begin + _PROMPTS_A_PART]
        answers, scores = sampler.sampled(sampling, members, begin, workspace.seed)
        if workspace.ranks.is_first:
            _write_part(path, members, answers, scores)
        workspace.ranks.wait()
        workspace.say(
            f"{begin + len(members)}/{len(prompts)} prompts sampled, "
            f"mean {float(scores.mean()):.2f}, best of {config.samples_per_prompt} "
            f"{float(scores.max(dim=1).values.mean()):.2f}  {left.after(begin + len(members))}"
        )
        best = int(scores[0].argmax())
        workspace.show(members[0].messages[-1].content, answers[0][best].text)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_part(
    path: Path,
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[Answer]],
    scores: torch.Tensor,
) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    lines = (
        json.dumps(
            {
                "prompt_id": prompt.id,
                "answers": [answer.text for answer in samples],
                "ended": [answer.completion.ended for answer in samples],
                "scores": row,
            }
        )
        + "\n"
        for prompt, samples, row in zip(prompts, answers, scores.tolist(), strict=True)
    )
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(path)


def _path_of_part(workspace: Workspace, begin: int) -> Path:
    return workspace.folder / "samples" / f"part-{begin // _PROMPTS_A_PART:05d}.jsonl"


def _some_demonstrations(
    config: RejectionConfig, instructions: Sequence[Path], num_targets: int, seed: int
) -> list[Dialog]:
    """So many demonstrations, drawn at random, that they make up their share of the mix."""
    dialogs = [dialog for dialog in read_dialogs(instructions) if dialog.is_answered]
    wanted = min(len(dialogs), round(num_targets * config.sft_share / (1 - config.sft_share)))
    order = np.random.default_rng(seed).permutation(len(dialogs))[:wanted]
    return [dialogs[index] for index in sorted(order)]


def _examples(prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = []
    for prompt, row in list(zip(prompts, rows, strict=True))[:6]:
        best, worst = np.argmax(row["scores"]), np.argmin(row["scores"])
        examples.append(
            {
                "prompt": prompt.messages[-1].content,
                "best": row["answers"][best],
                "best_score": row["scores"][best],
                "worst": row["answers"][worst],
                "worst_score": row["scores"][worst],
            }
        )
    return examples
