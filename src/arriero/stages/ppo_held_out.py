"""The check on held-out prompts: what early stopping goes by, and a judge that stands apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from arriero.alignment.scoring import RewardModels, same_tokens, score_sequences
from arriero.inference.generate import Sampling
from arriero.model.heads import ScoreModel
from arriero.records import Prompt, UserError
from arriero.stages.learner import Learner
from arriero.stages.placement import read_score_model
from arriero.stages.ppo_alarms import Check
from arriero.stages.ppo_config import PpoConfig
from arriero.stages.ppo_iteration import has_scores, sampled, scored
from arriero.stages.sampling import Answering
from arriero.stages.served import sampled_from
from arriero.stages.workspace import Workspace
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.parallel import reshard
from arriero.training.stopping import StopRequest


@dataclass(frozen=True)
class HeldOut:
    """Prompts that nothing is learned from, and who judges the answers.

    Attributes:
        judges: the reward models that train the policy.
        general: one that neither trains nor chooses (section 3.4); None where there is none.
    """

    prompts: Sequence[Prompt]
    judges: RewardModels
    general: ScoreModel | None

    def check(
        self,
        config: PpoConfig,
        learner: Learner,
        workspace: Workspace,
        stop: StopRequest | None = None,
    ) -> Check:
        """Scores of one sampled answer to each prompt; the same draw at every check.

        Raises:
            Stopped: a rank was asked to stop by `stop`.
            UserError: not one answer has a finite score.
        """
        policy = sampled_from(
            learner.policy, config.sampler_url, config.rollout_precision, workspace
        )
        answers = sampled(config, policy, self.prompts, workspace.seed + 7, workspace, stop)
        if workspace.ranks.is_first:
            workspace.show(self.prompts[0].messages[-1].content, answers[0].text)
        del policy  # a whole copy, which need not lie beside what scores
        scores = scored(self.judges, self.prompts, answers, workspace)
        composite = _finite(torch.where(has_scores(scores), scores.composite, torch.nan))
        if not any(score is not None for score in composite):
            raise UserError(
                f"no answer to {len(self.prompts)} held-out prompts has a finite score by the "
                "reward models"
            )
        general: list[float | None] = []
        if self.general is not None:
            ids = [answer.ids for answer in answers]
            scores = score_sequences(self.general, ids, workspace.ranks)
            reshard(self.general)
            general = workspace.ranks.agreed(_finite(scores))
        return Check(composite, general)


def read_general(folder: Path, tokenizer: Tokenizer, workspace: Workspace) -> ScoreModel:
    """A general reward model, in shares on ranks.

    Raises:
        UserError: it is no reward model, or its tokenizer is not the policy's.
    """
    same_tokens(folder, tokenizer)
    return read_score_model(folder, workspace, "float32").requires_grad_(False)


def mean_score(scores: Sequence[float | None]) -> float:
    """Mean of the finite ones, of which there is one at least."""
    return fmean(score for score in scores if score is not None)


def examples(
    config: PpoConfig, policy: Answering, prompts: Sequence[Prompt], seed: int
) -> list[dict[str, str]]:
    """An answer to each prompt, as text."""
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    answers = policy.answers(prompts, sampling, seed=seed)
    return [
        {"prompt": prompt.messages[-1].content, "answer": samples[0].text}
        for prompt, samples in zip(prompts, answers, strict=True)
    ]


def _finite(scores: Tensor) -> list[float | None]:
    return [score if math.isfinite(score) else None for score in scores.tolist()]
