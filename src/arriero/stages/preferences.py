"""Stage `preferences`: comparisons of two answers a prompt (section 3.2.1).

`collect` samples the two answers from two model variants at varied temperature and has annotators
rate them; `adoption.adopt` takes comparisons that the user already has. Both write the user's own
format, so that reward training sees no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from arriero.data.screening import UNSAFE_CHOICE, Dropped, is_kept
from arriero.data.writing import write_preferences
from arriero.inference.generate import Sampling
from arriero.records import Annotator, Preference, Prompt
from arriero.stages.preference_statistics import TRACKS, write_statistics
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.training.meters import TimeLeft

_PROMPTS_A_PART = 2048


class PreferencesConfig(BaseModel):
    """Section 3.2.1. Temperatures are drawn anew for every answer; the paper names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.6, 0.8, 1.0, 1.2),
        min_length=1,
        description="temperatures that answers are sampled at",
    )
    max_new_tokens: int = Field(default=512, gt=0, description="longest answer in tokens")
    test_share: float = Field(
        default=0.1,
        gt=0,
        lt=0.9,
        description="prompts of each batch whose comparisons are held out",
    )
    test_pairs: int = Field(
        default=0,
        ge=0,
        description="comparisons of each batch held out, by prompt; 1,000 in the paper, 0 takes "
        "test_share",
    )
    files_are_batches: bool = Field(
        default=False, description="each file is a batch in time, unless its rows name one"
    )
    max_tokens: int = Field(
        default=0, ge=0, description="longest prompt with an answer adopted; 0 takes the context"
    )
    max_pairs: int = Field(
        default=0, ge=0, description="most comparisons adopted a track; 0 takes all"
    )
    max_test_pairs: int = Field(
        default=0, ge=0, description="most comparisons held out a track; 0 takes all"
    )
    policy_share: float = Field(
        default=0.25,
        gt=0,
        lt=0.9,
        description="adopted prompts kept back for the policy, unseen by rewards",
    )
    held_out_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="of the prompts kept back, those of PPO's early stop"
    )
    final_share: float = Field(
        default=0.25,
        gt=0,
        lt=0.5,
        description="of the prompts kept back, those of the final evaluation",
    )


def collect(
    config: PreferencesConfig,
    *,
    variants: tuple[Path, Path],
    prompts: Mapping[str, Sequence[Prompt]],
    annotators: Sequence[Annotator],
    workspace: Workspace,
    batch: str = "",
) -> None:
    """Sample, rate and write `TRACK-train.jsonl` and `TRACK-test.jsonl`.

    Args:
        variants: the two models that answer.
        prompts: under `train` and `test`; the test prompts are for held-out comparisons alone.
        annotators: each prompt goes to one of them, in turn.
        batch: what the rows are marked with, such as `v2`.
    """
    models = [ChatModel.load(folder, workspace.device) for folder in variants]
    dropped: Counter[str] = Counter()
    left, num_done = TimeLeft(sum(map(len, prompts.values()))), 0
    for split, members in prompts.items():
        rated: list[Preference] = []
        for begin in range(0, len(members), _PROMPTS_A_PART):
            part = members[begin : begin + _PROMPTS_A_PART]
            seed = workspace.seed * 1000 + begin + (split == "test")
            for number, (prompt, pair) in enumerate(_pairs(config, models, part, seed)):
                annotator = annotators[(begin + number) % len(annotators)]
                rated.extend(_rate(annotator, prompt, pair, batch, dropped))
            num_done += len(part)
            where = f"{split}: {begin + len(part)}/{len(members)} prompts answered and rated"
            workspace.say(f"{where}  {left.after(num_done)}")
        if rated:
            row = rated[-1]
            workspace.show(row.prompt[-1].content, f"{row.chosen} | rejected: {row.rejected}")
        for track in TRACKS:
            rows = [row for row in rated if row.track == track]
            write_preferences(workspace.folder / f"{track}-{split}.jsonl", rows)
    write_statistics(workspace, "collected", models[0].tokenizer, Dropped(dropped))


def _pairs(
    config: PreferencesConfig, models: Sequence[ChatModel], prompts: Sequence[Prompt], seed: int
) -> Iterable[tuple[Prompt, tuple[str | None, str | None]]]:
    """Each prompt with an answer of either model, in random order; None was cut off."""
    random = np.random.default_rng(seed)
    texts: list[dict[int, str | None]] = [{} for _ in models]
    for number, model in enumerate(models):
        drawn = random.integers(len(config.temperatures), size=len(prompts))
        for which, temperature in enumerate(config.temperatures):
            chosen = [index for index in range(len(prompts)) if drawn[index] == which]
            if not chosen:
                continue
            sampling = Sampling(temperature=temperature, max_new_tokens=config.max_new_tokens)
            answers = model.answers(
                [prompts[index] for index in chosen], sampling, seed=seed * 10 + number
            )
            texts[number].update(
                (index, samples[0].text if samples[0].completion.ended else None)
                for index, samples in zip(chosen, answers, strict=True)
            )
    swapped = random.random(len(prompts)) < 0.5
    for index, prompt in enumerate(prompts):
        pair = (texts[0][index], texts[1][index])
        yield prompt, (pair[1], pair[0]) if swapped[index] else pair


def _rate(
    annotator: Annotator,
    prompt: Prompt,
    pair: tuple[str | None, str | None],
    batch: str,
    dropped: Counter[str],
) -> list[Preference]:
    """The comparison as a row, or nothing where it teaches nothing."""
    first, second = pair
    if first is None or second is None:
        # As a whole answer, with its end, it would teach a reward model that this is one.
        dropped["an answer was cut off"] += 1
        return []
    if first == second:
        dropped["the two answers are the same"] += 1
        return []
    if not first or not second:
        dropped["an answer is empty"] += 1
        return []
    judgment = annotator.compare(prompt, first, second)
    sides = [(first, judgment.a_is_safe), (second, judgment.b_is_safe)]
    (chosen, chosen_is_safe), (rejected, rejected_is_safe) = (
        sides if judgment.prefers_a else reversed(sides)
    )
    row = Preference(
        prompt=prompt.messages,
        chosen=chosen,
        rejected=rejected,
        rating=judgment.rating,
        chosen_is_safe=chosen_is_safe,
        rejected_is_safe=rejected_is_safe,
        track=prompt.track,
        source=prompt.category,
        prompt_id=prompt.id,
        annotator=annotator.name,
        batch=batch,
    )
    if not is_kept(row):
        dropped[UNSAFE_CHOICE] += 1
        return []
    return [row]
