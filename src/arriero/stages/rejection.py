"""Stage `rejection`: rejection sampling (section 3.2.3).

K samples a prompt from the newest model, the best by the composite score is the new target, and the
base model is fine-tuned on the targets with demonstrations in the mix. From the bags of earlier
versions the best samples join, scored again. All samples stay in the stage's own bag.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arriero.alignment.bag import (
    Origin,
    Samples,
    bags_in,
    check_origin,
    parts_of,
    samples_in,
)
from arriero.alignment.targets import (
    Candidate,
    Key,
    as_dialogs,
    best_of_each,
    candidates_of,
    drawn_keys,
    top_different,
)
from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_dialogs
from arriero.model.weights import weights_identity
from arriero.records import Dialog, UserError
from arriero.stages.rejection_config import RejectionConfig
from arriero.stages.rejection_samples import Found, draw, reward_curves
from arriero.stages.rejection_scores import score_again
from arriero.stages.sft import fine_tune
from arriero.stages.workspace import Workspace
from arriero.tokenizer.load import load_tokenizer

__all__ = ["RejectionConfig", "run"]


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
    bags: Sequence[Path] = (),
    ghost: Sequence[Path] = (),
    version: str = "v1",
    num_steps: int | None = None,
) -> None:
    """Sample from `policy`, choose by both reward models, fine-tune `base` into `folder/model`.

    Args:
        bags: folders of this stage of earlier versions, the oldest first.
        ghost: files of dialogs that join the mix as they are (section 3.3).
        version: of the model that comes of it.
        num_steps: optimizer steps in place of the epochs of `config.sft`.

    Raises:
        Stopped: the process was asked to stop; what is done stays.
        UserError: a bag is damaged or belongs to another base model or tokenizer, no answer is fit
            to be a target, or as `draw` says.
    """
    if config.samples_from:
        chosen = _choose_from_others(config, workspace)
    else:
        chosen = _choose_from_own(config, base, policy, rewards, prompts, bags, version, workspace)
    targets = as_dialogs(chosen.targets, chosen.rows[0].origin.version)
    if not targets:
        raise UserError("rejection sampling: every sampled answer is empty or has no finite score")
    if workspace.ranks.is_first:
        write_dialogs(workspace.folder / "targets.jsonl", targets)
    demonstrations = _some_demonstrations(config, instructions, len(targets), workspace.seed)
    ghosts = [dialog for dialog in read_dialogs(ghost) if dialog.is_answered] if ghost else []
    facts = fine_tune(
        config.sft,
        base,
        demonstrations + targets + ghosts,
        workspace,
        corpus_shard=corpus_shard,
        num_steps=num_steps,
    )
    if workspace.ranks.is_first:
        workspace.write_results(
            _figures(chosen)
            | {
                "targets": len(targets),
                "demonstrations": len(demonstrations),
                "ghost_dialogs": len(ghosts),
                "steps": facts["steps"],
                "train_loss": facts["train_loss"],
                "valid_loss": facts["valid_loss"],
            }
        )


@dataclass(frozen=True)
class _Chosen:
    """What there was to choose from, and what was chosen.

    Attributes:
        rows: the samples of the newest version, `found` how they were drawn; None if they are
            another run's.
        prompts: number of prompts by version, the newest first.
    """

    rows: list[Samples]
    found: Found | None
    targets: list[Candidate]
    prompts: Mapping[str, int]


def _choose_from_own(
    config: RejectionConfig,
    base: Path,
    policy: Path,
    rewards: tuple[Path, Path],
    prompts: Sequence[Path],
    bags: Sequence[Path],
    version: str,
    workspace: Workspace,
) -> _Chosen:
    """Draw samples; of the best of each prompt and of earlier versions', scored again, choose."""
    ranks, tokenizer = workspace.ranks, load_tokenizer(policy)
    identity = ranks.agreed(weights_identity(base) if ranks.is_first else "")
    origin = Origin(version, 0.0, "", identity, tokenizer.fingerprint)
    bags = bags if config.selection == "all" else ()
    for stage in bags:
        if not parts_of(stage):
            raise UserError(f"{stage}: no bag of samples in it; run rejection sampling first")
    earlier = _earlier(bags, config.bag_top, origin)  # what is wrong with it shows before sampling
    found = draw(config, policy, rewards, prompts, origin, workspace)
    own = _best(found.rows)
    keys = drawn_keys(earlier, own, config.bag_share, workspace.seed)
    joining = [one for key in keys for one in earlier[key]]
    again = score_again(joining, rewards, tokenizer, workspace)
    best = best_of_each([own.values(), again])
    versions = Counter({version: len(found.rows)})
    versions.update(one for key in keys for one in {each.version for each in earlier[key]})
    return _Chosen(found.rows, found, list(best.values()), versions)


def _choose_from_others(config: RejectionConfig, workspace: Workspace) -> _Chosen:
    """The samples of another run, by the scores that they have there.

    Scores of two versions do not compare, so of each prompt the newest version that has it counts.
    """
    *older, newest = bags_in(Path(config.samples_from).expanduser())
    older = older if config.selection == "all" else []
    rows = list(samples_in(newest))
    order = np.random.default_rng(workspace.seed).permutation(len(rows))
    rows = [rows[index] for index in order[: config.max_prompts or None]]
    own, earlier = _best(rows), _earlier(older, 1)
    workspace.say(f"{len(rows)} prompts with samples from {newest}")
    new = {key: found[-1] for key, found in earlier.items() if key not in own}
    keys = drawn_keys(new, own, config.bag_share, workspace.seed)
    targets = [*own.values(), *(new[key] for key in keys)]
    versions = Counter({rows[0].origin.version: len(rows)})
    versions.update(new[key].version for key in keys)
    return _Chosen(rows, None, targets, versions)


def _best(rows: Sequence[Samples]) -> dict[Key, Candidate]:
    """The best sample of each prompt; a prompt whose best one is empty has none."""
    best = best_of_each(candidates_of(row)[:1] for row in rows)
    return {key: one for key, one in best.items() if one.answer}


def _earlier(
    bags: Sequence[Path], top: int, origin: Origin | None = None
) -> dict[Key, list[Candidate]]:
    """Of each prompt of earlier versions the top few of each, the oldest version's first.

    Args:
        origin: whose base and tokenizer theirs have to be; any of none.

    Raises:
        UserError: a bag is damaged, or another base's or tokenizer's.
    """
    found: dict[Key, list[Candidate]] = {}
    for stage in bags:
        for row in samples_in(stage):
            if origin is not None:
                check_origin(stage, row, origin.base, origin.tokenizer)
            for one in top_different(candidates_of(row), top):
                found.setdefault(one.key, []).append(one)
    return found


def _some_demonstrations(
    config: RejectionConfig, instructions: Sequence[Path], num_targets: int, seed: int
) -> list[Dialog]:
    """So many demonstrations, drawn at random, that they make up their share of the mix."""
    dialogs = [dialog for dialog in read_dialogs(instructions) if dialog.is_answered]
    wanted = min(len(dialogs), round(num_targets * config.sft_share / (1 - config.sft_share)))
    order = np.random.default_rng(seed).permutation(len(dialogs))[:wanted]
    return [dialogs[index] for index in sorted(order)]


def _figures(chosen: _Chosen) -> dict[str, Any]:
    """What results.json says of the samples and of the choice."""
    rows, found = chosen.rows, chosen.found
    scores = torch.tensor([row.scores for row in rows])
    finite = scores.isfinite()
    best = scores.masked_fill(~finite, -torch.inf).max(dim=1).values
    maxima, medians = reward_curves(rows)
    of_version = Counter(one.version for one in chosen.targets)
    return {
        "prompts": len(rows),
        "prompts_too_long": found.too_long if found else 0,
        "samples_per_prompt": len(rows[0].answers),
        "ended": float(np.mean([ended for row in rows for ended in row.ended])),
        "not_finite": {
            "helpfulness": sum(not math.isfinite(s) for row in rows for s in row.helpfulness),
            "safety": sum(not math.isfinite(s) for row in rows for s in row.safety),
        },
        "temperature": rows[0].origin.temperature,
        "temperatures": found.by_temperature if found else [],
        "by_n": [
            {"n": n, "max": float(most), "median": float(median)}
            for n, (most, median) in enumerate(zip(maxima, medians, strict=True), 1)
        ],
        "reward_mean_of_samples": float(scores[finite].mean()),
        "reward_mean_of_best": float(best[best.isfinite()].mean()),
        "bag": {
            version: {"prompts": count, "chosen": of_version[version]}
            for version, count in chosen.prompts.items()
        },
        "samples": _examples(rows),
    }


def _examples(rows: Sequence[Samples]) -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = []
    for row in rows[:6]:
        places = [place for place, score in enumerate(row.scores) if math.isfinite(score)]
        if places:
            best = max(places, key=lambda place: row.scores[place])
            worst = min(places, key=lambda place: row.scores[place])
            examples.append(
                {
                    "prompt": row.prompt.messages[-1].content,
                    "best": row.answers[best],
                    "best_score": row.scores[best],
                    "worst": row.answers[worst],
                    "worst_score": row.scores[worst],
                }
            )
    return examples
