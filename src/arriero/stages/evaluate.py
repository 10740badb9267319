"""Stage `evaluate`: all versions on prompts that no stage saw (sections 3.4 and 4.4).

The reward models always judge; an oracle, where there is one, judges beside them and is seen by no
other stage; so does an outside language model, where the recipe names one. The base model cannot
hold a dialogue and is prompted with a few examples instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from arriero.alignment.scoring import RewardModels
from arriero.data.mixing import Corpus, open_corpus
from arriero.data.preferences import read_preferences
from arriero.data.prompts import read_prompts
from arriero.equations.repetition import repeated_ngram_share
from arriero.evaluation.comparison import (
    distributions,
    label_shares,
    manner,
    paired_difference,
    paired_rewards,
    path_point,
    set_figures,
    win_tie_loss,
)
from arriero.evaluation.graded import GradedAnswer
from arriero.evaluation.regression import capabilities, moves_together
from arriero.evaluation.reward_models import oracle_agreement
from arriero.inference.generate import Sampling, generate
from arriero.records import Dialog, Oracle, Prompt
from arriero.records.prompt import Track
from arriero.stages.evaluate_judge import JudgeConfig, ask_outside, open_outside
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.reading import held_out_rows, in_batches
from arriero.stages.sampling import Answer, ChatModel
from arriero.stages.token_loss import mean_loss
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.training.meters import TimeLeft

BASE = "base"


class EvaluateConfig(BaseModel):
    """How answers are sampled for comparison; the paper's released code: 0.6 and 0.9."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.6, ge=0, description="sampling temperature; 0.6")
    top_p: float = Field(default=0.9, gt=0, le=1, description="nucleus; 0.9")
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    prompts_per_set: int = Field(default=1000, gt=0, description="most prompts of a set")
    dialogs: int = Field(
        default=24, ge=0, description="sample dialogs shown side by side in the report"
    )
    max_rows: int = Field(default=256, gt=0, description="sequences sampled at once")
    judge: JudgeConfig = Field(default_factory=JudgeConfig)


@dataclass(frozen=True)
class EvaluateInputs:
    """What is compared, on what, by whom.

    Attributes:
        base: the base model's folder, and `base_shard` its tokenised corpus for perplexity.
        versions: chat models by name, from the first to the newest.
        sets: prompt files by name; `ordinary`, `adversarial` and `borderline` have figures of
            their own where an oracle grades.
        rewards: the folders of the helpfulness and the safety model.
        comparisons: held-out preference files by track.
        few_shot: examples that the base model is prompted with.
        baseline: the version that all later ones are held against; the first if left out.
    """

    base: Path
    base_shard: Path
    versions: Mapping[str, Path]
    sets: Mapping[str, Path]
    rewards: tuple[Path, Path]
    comparisons: Mapping[Track, Path]
    few_shot: Sequence[Dialog]
    baseline: str = ""


def run(
    config: EvaluateConfig,
    inputs: EvaluateInputs,
    *,
    oracle: Oracle | None,
    pretraining: PretrainConfig,
    workspace: Workspace,
) -> None:
    """Sample answers of every version to every set, have them judged, write results.json.

    Raises:
        UserError: the outside judge cannot be asked, before anything is sampled. One that stops
            later leaves a line in `judge` of the results.
    """
    outside = open_outside(config.judge, workspace.say)
    newest = ChatModel.load(list(inputs.versions.values())[-1], workspace.device)
    judges = RewardModels.load(*inputs.rewards, newest.tokenizer, workspace.device)
    sets = {
        name: newest.fitting(list(read_prompts([path])), config.max_new_tokens)[
            : config.prompts_per_set
        ]
        for name, path in inputs.sets.items()
    }
    corpus = open_corpus(inputs.base_shard, pretraining.row_length)
    held_out = [row for rows in held_out_rows(pretraining, corpus) for row in rows]
    graded: dict[str, dict[str, list[GradedAnswer]]] = {}
    perplexity: dict[str, float | None] = {}
    left = TimeLeft(1 + len(inputs.versions))
    for version, folder in {BASE: inputs.base, **inputs.versions}.items():
        model = ChatModel.load(folder, workspace.device)
        perplexity[version] = _perplexity(model, corpus, held_out, workspace.device)
        if version == BASE and (oracle is None or not inputs.few_shot):
            continue
        graded[version] = {
            name: _graded(config, inputs, model, version, name, prompts, judges, oracle, workspace)
            for name, prompts in sets.items()
        }
        num_answers = sum(map(len, graded[version].values()))
        workspace.say(f"{version}: {num_answers} answers judged  {left.after(len(perplexity))}")
        first = next((members[0] for members in graded[version].values() if members), None)
        if first:
            workspace.show(first.prompt.messages[-1].content, first.text)
    chat = {name: graded[name] for name in inputs.versions}
    results: dict[str, Any] = {
        "versions": list(graded),
        "has_oracle": oracle is not None,
        "sets": set_figures(graded) if oracle else {},
        "baseline": inputs.baseline,
        "wins": win_tie_loss(chat, inputs.baseline),
        "paired": paired_difference(chat, inputs.baseline),
        "paired_rewards": paired_rewards(chat, inputs.baseline),
        "capabilities": capabilities(chat),
        "moves_together": moves_together(chat),
        "path": {name: path_point(answers) for name, answers in chat.items()},
        "reward_distributions": distributions(chat),
        "labels": label_shares(graded) if oracle else {},
        "perplexity": perplexity,
        **manner(graded),
        "dialogs": _dialogs(config, graded, sets),
    }
    if oracle:
        results["reward_models"] = {
            track: oracle_agreement(
                track, list(read_preferences([path])), judges, newest.tokenizer, oracle
            )
            for track, path in inputs.comparisons.items()
        }
    workspace.write_results(results)
    if outside is not None:
        # Others' time: whatever happens to it, the results above are on disk.
        wins, results["judge"] = ask_outside(
            config.judge, outside, chat, inputs.baseline, workspace
        )
        results["wins"] += wins
        workspace.write_results(results)


def _graded(
    config: EvaluateConfig,
    inputs: EvaluateInputs,
    model: ChatModel,
    version: str,
    name: str,
    prompts: Sequence[Prompt],
    judges: RewardModels,
    oracle: Oracle | None,
    workspace: Workspace,
) -> list[GradedAnswer]:
    """Answers of one version to one set with their scores and grades; kept in a file."""
    sampling = Sampling(
        temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens
    )
    if version == BASE:
        answers = _few_shot_answers(model, inputs.few_shot, prompts, sampling, workspace.seed)
    else:
        sampled = model.answers(prompts, sampling, seed=workspace.seed, max_rows=config.max_rows)
        answers = [samples[0] for samples in sampled]
    ids = [
        encode_prompt(model.tokenizer, prompt.messages)
        + (
            encode_answer(model.tokenizer, answer.text)
            if version == BASE
            else answer.completion.tokens
        )
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    tagged = torch.tensor([prompt.track == "safety" for prompt in prompts])
    scores = judges.score(ids, tagged)
    graded = [
        GradedAnswer(
            prompt=prompt,
            text=answer.text,
            num_tokens=len(answer.completion.tokens),
            helpfulness_score=float(scores.helpfulness[index]),
            safety_score=float(scores.safety[index]),
            composite_score=float(scores.composite[index]),
            grade=oracle.grade(prompt, answer.text) if oracle else None,
            ended=answer.completion.ended or version == BASE,  # which ends with its line
            repetition=repeated_ngram_share(answer.completion.tokens),
        )
        for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    _write_answers(workspace.folder / "answers" / f"{version}-{name}.jsonl", graded)
    return graded


def _few_shot_answers(
    base: ChatModel,
    examples: Sequence[Dialog],
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
) -> list[Answer]:
    """The base model's continuations of `Question: ... Answer: ...`, up to the line's end."""
    shown = "".join(
        f"Question: {dialog.prompt[-1].content}\nAnswer: {dialog.answer}\n" for dialog in examples
    )
    tokenizer = base.tokenizer
    encoded: list[list[int]] = []
    for prompt in prompts:
        asked = " ".join(message.content for message in prompt.messages)
        ids = tokenizer.encode(f"{shown}Question: {asked}\nAnswer:")
        encoded.append([tokenizer.start_id, *ids])
    room = base.model.config.context - max(len(ids) for ids in encoded)
    limited = sampling.model_copy(
        update={
            "max_new_tokens": max(1, min(sampling.max_new_tokens, room)),
            "stop_ids": tokenizer.newline_ids,
        }
    )
    sampled = generate(base.model, encoded, limited, seed=seed, ends=tokenizer.special.ends)
    return [
        Answer(tokenizer.decode(samples[0].tokens).strip().split("\n")[0], ids, samples[0])
        for ids, samples in zip(encoded, sampled, strict=True)
    ]


def _perplexity(
    model: ChatModel, corpus: Corpus, held_out: Sequence[int], device: torch.device
) -> float | None:
    """On the rows of the corpus that pretraining held out."""
    loss = mean_loss(model.model, in_batches(corpus, held_out, 8), device)
    return None if loss is None else math.exp(loss)


def _write_answers(path: Path, answers: Sequence[GradedAnswer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(
        "".join(json.dumps(answer.as_row()) + "\n" for answer in answers), encoding="utf-8"
    )
    temporary.replace(path)


def _dialogs(
    config: EvaluateConfig,
    graded: Mapping[str, Mapping[str, Sequence[GradedAnswer]]],
    sets: Mapping[str, Sequence[Prompt]],
) -> list[dict[str, Any]]:
    """Some prompts of each set with every version's answer."""
    shown: list[dict[str, Any]] = []
    per_set = config.dialogs // max(1, len(sets))
    for name, prompts in sets.items():
        stride = max(1, len(prompts) // max(1, per_set))
        for index in range(0, len(prompts), stride)[:per_set]:
            prompt = prompts[index]
            shown.append(
                {
                    "prompt": [
                        {"role": message.role, "content": message.content}
                        for message in prompt.messages
                    ],
                    "set": name,
                    "category": prompt.category,
                    "answers": {
                        version: answers[name][index].as_shown()
                        for version, answers in graded.items()
                    },
                }
            )
    return shown
