"""Scores of rejection sampling: what is not finite is named, what is old is scored again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from arriero.alignment.bag import Samples
from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.alignment.targets import Candidate
from arriero.equations.best_of import expected_max_of_n
from arriero.records import Dialog, UserError
from arriero.stages.placement import read_score_model
from arriero.stages.sampling import sequence_scores
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import encode_dialogs
from arriero.tokenizer.tokenizer import Tokenizer

_NAMED = 5


def open_judges(
    rewards: tuple[Path, Path], tokenizer: Tokenizer, workspace: Workspace
) -> RewardModels:
    """Both reward models, in shares on ranks.

    Raises:
        UserError: a folder is no reward model, or its tokenizer is not the policy's.
    """
    return RewardModels.read(
        *rewards, tokenizer, lambda f: read_score_model(f, workspace, "float32")
    )


def score_again(
    candidates: Sequence[Candidate],
    rewards: tuple[Path, Path],
    tokenizer: Tokenizer,
    workspace: Workspace,
) -> list[Candidate]:
    """Samples of earlier versions with the scores that the newest reward models give them.

    Read from their texts, as they would be learned. What has no finite score, or is longer than a
    reward model's context, is left out with a word.

    Raises:
        UserError: as open_judges.
    """
    if not candidates:
        return []
    judges = open_judges(rewards, tokenizer, workspace)
    encoded = encode_dialogs(
        tokenizer,
        [
            Dialog(one.prompt.messages).answered(one.answer, is_cut=not one.ended)
            for one in candidates
        ],
    )
    room = min(judges.helpfulness.config.context, judges.safety.config.context)
    places = [place for place, one in enumerate(encoded) if len(one.ids) <= room]
    if too_long := len(candidates) - len(places):
        workspace.say(f"{too_long} samples of earlier versions are too long for the reward models")
    found = [candidates[place] for place in places]
    tagged = torch.tensor([one.prompt.track == "safety" for one in found])
    scores = sequence_scores(
        judges, [encoded[place].ids for place in places], tagged, workspace.ranks
    )
    name_not_finite(scores, [one.prompt.id for one in found], workspace)
    return [
        replace(one, score=score)
        for one, score in zip(found, finite_composite(scores).tolist(), strict=True)
        if math.isfinite(score)
    ]


def finite_composite(scores: CompositeScores) -> Tensor:
    """[N] what counts of both scores; NaN where either is not finite, whichever counts."""
    finite = scores.helpfulness.isfinite() & scores.safety.isfinite()
    return torch.where(finite, scores.composite, torch.nan)


def name_not_finite(scores: CompositeScores, ids: Sequence[str], workspace: Workspace) -> None:
    """Say which prompts have answers with a score that is not finite, and by which model.

    Args:
        scores: [N], as many of each id as of the others.
        ids: of the prompts, in the scores' order.
    """
    for name, found in (("helpfulness", scores.helpfulness), ("safety", scores.safety)):
        bad = ~found.isfinite()
        if bad.any():
            places: list[int] = bad.view(len(ids), -1).any(1).nonzero().flatten().tolist()
            prompts = list(dict.fromkeys(ids[place] for place in places))
            named = ", ".join(prompts[:_NAMED])
            more = f" and {len(prompts) - _NAMED} more" if len(prompts) > _NAMED else ""
            workspace.say(
                f"the {name} model gives {int(bad.sum())} of {len(found)} answers no finite score; "
                f"they are never chosen; prompts {named}{more}"
            )


def refuse_broken(rows: Sequence[Samples]) -> None:
    """Refuse reward models of which one gives no finite score at all.

    Raises:
        UserError: naming it.
    """
    for name, scores in (
        ("helpfulness", [score for row in rows for score in row.helpfulness]),
        ("safety", [score for row in rows for score in row.safety]),
    ):
        if not any(map(math.isfinite, scores)):
            raise UserError(
                f"the {name} model gives none of {len(scores)} answers a finite score; train it "
                "again, at a lower rate"
            )


def reward_curves(rows: Sequence[Samples]) -> tuple[Tensor, Tensor]:
    """Expected best and median reward of n of the K samples (Figure 7): two tensors [K].

    Over the prompts all of whose scores are finite; empty if there are none.
    """
    finite = [row.scores for row in rows if all(map(math.isfinite, row.scores))]
    return expected_max_of_n(torch.tensor(finite)) if finite else (torch.zeros(0), torch.zeros(0))
