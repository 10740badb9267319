"""Stage `preferences`: comparisons of two answers a prompt (section 3.2.1).

`collect` samples the two answers from two model variants at varied temperature and has annotators
rate them; `adopt` takes comparisons that the user already has. Both write the user's own format, so
that reward training sees no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from arriero.data.preferences import read_preferences
from arriero.data.writing import write_preferences, write_prompts
from arriero.inference.generate import Sampling
from arriero.records import Annotator, Preference, Prompt, Rating, UserError
from arriero.records.prompt import Track
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer
from arriero.training.meters import TimeLeft

TRACKS: tuple[Track, ...] = ("helpfulness", "safety")

# The words of a prompt, by which it is the same in both tracks.
_Key = tuple[str, ...]
_SIDES = ("final", "held_out", "policy", "test", "train")
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
        description="comparisons held out, by prompt; 1,000 a batch in the paper",
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
) -> None:
    """Sample, rate and write `TRACK-train.jsonl` and `TRACK-test.jsonl`.

    Args:
        variants: the two models that answer.
        prompts: under `train` and `test`; the test prompts are for held-out comparisons alone.
        annotators: each prompt goes to one of them, in turn.
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
                rated.extend(_rate(annotator, prompt, pair, dropped))
            num_done += len(part)
            where = f"{split}: {begin + len(part)}/{len(members)} prompts answered and rated"
            workspace.say(f"{where}  {left.after(num_done)}")
        if rated:
            row = rated[-1]
            workspace.show(row.prompt[-1].content, f"{row.chosen} | rejected: {row.rejected}")
        for track in TRACKS:
            rows = [row for row in rated if row.track == track]
            write_preferences(workspace.folder / f"{track}-{split}.jsonl", rows)
    _write_statistics(workspace, "collected", models[0].tokenizer, dropped)


def adopt(
    config: PreferencesConfig,
    *,
    files: Mapping[Track, Sequence[Path]],
    tokenizer_folder: Path,
    context: int,
    workspace: Workspace,
) -> None:
    """Split comparisons that exist already; a prompt never stands on two sides.

    Some prompts are kept back for the policy: rejection sampling, PPO, its early stop and the final
    evaluation ask what the reward models have not seen.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    random = np.random.default_rng(workspace.seed)
    dropped: Counter[str] = Counter()
    sides: dict[_Key, str] = {}
    kept_back: dict[str, list[Prompt]] = {"held_out": [], "rejection": [], "ppo": []}
    for track, paths in files.items():
        by_prompt = _usable(tokenizer, track, paths, context, dropped)
        # A prompt that the other track has too stands where it stands there.
        new = [key for key in by_prompt if key not in sides]
        order = random.permutation(len(new)).tolist()
        sides |= zip((new[index] for index in order), _sides(config, len(new)), strict=True)
        rows: dict[str, list[Preference]] = {side: [] for side in _SIDES}
        for key, side in sides.items():
            rows[side].extend(by_prompt.get(key, []))
        if not all(rows.values()):
            raise UserError(f"{track} preferences: {len(by_prompt)} usable prompts are too few")
        kept_back[f"test-{track}"] = _prompts(track, "final", rows)
        kept_back["held_out"] += _prompts(track, "held_out", rows)
        kept_back["rejection"] += _prompts(track, "policy", rows)
        kept_back["ppo"] += _prompts(track, "policy", rows)
        train = rows["train"][: config.max_pairs or None]
        test = rows["test"][: config.max_test_pairs or None]
        write_preferences(workspace.folder / f"{track}-train.jsonl", train)
        write_preferences(workspace.folder / f"{track}-test.jsonl", test)
        workspace.say(f"{track}: {len(train)} comparisons to train on, {len(test)} held out")
    for name, prompts in kept_back.items():
        write_prompts(workspace.folder / f"prompts-{name}.jsonl", prompts)
    _write_statistics(workspace, "adopted", tokenizer, dropped)


def _usable(
    tokenizer: Tokenizer,
    track: Track,
    paths: Sequence[Path],
    context: int,
    dropped: Counter[str],
) -> dict[_Key, list[Preference]]:
    """The comparisons of a track that teach something, by prompt; the others are counted."""
    by_prompt: dict[_Key, list[Preference]] = {}
    for row in read_preferences(paths, skipped=dropped):
        if row.chosen.strip() == row.rejected.strip():
            dropped["the two answers are the same"] += 1
        elif not _is_kept(row):
            dropped["chosen is unsafe, the other safe"] += 1
        elif _longest(tokenizer, row) > context:
            dropped["longer than the context"] += 1
        else:
            key = tuple(message.content for message in row.prompt)
            by_prompt.setdefault(key, []).append(replace(row, track=track))
    return by_prompt


def _sides(config: PreferencesConfig, count: int) -> list[str]:
    """The side of each of `count` shuffled prompts: those kept back, those of test and train."""
    num_policy = max(3, int(count * config.policy_share))
    num_final = max(1, round(num_policy * config.final_share))
    num_held_out = max(1, round(num_policy * config.held_out_share))
    sides = ["final"] * num_final + ["held_out"] * num_held_out
    sides += ["policy"] * (num_policy - len(sides))
    sides += ["test"] * max(1, int(count * config.test_share))
    return (sides + ["train"] * (count - len(sides)))[:count]


def _prompts(track: Track, side: str, rows: Mapping[str, Sequence[Preference]]) -> list[Prompt]:
    """The prompts of a side, each once."""
    sources = {row.prompt: row.source for row in rows[side]}
    return [
        Prompt(f"{track}-{side}-{number}", messages, track, source)
        for number, (messages, source) in enumerate(sources.items())
    ]


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
    )
    if not _is_kept(row):
        dropped["chosen is unsafe, the other safe"] += 1
        return []
    return [row]


def _is_kept(row: Preference) -> bool:
    """Section 3.2.1: on the safety track no pair whose chosen answer alone is unsafe."""
    return not (row.chosen_is_safe is False and row.rejected_is_safe is True)


def _longest(tokenizer: Tokenizer, row: Preference) -> int:
    answers = (encode_answer(tokenizer, text) for text in (row.chosen, row.rejected))
    return len(encode_prompt(tokenizer, row.prompt)) + max(len(answer) for answer in answers)


def _write_statistics(
    workspace: Workspace, origin: str, tokenizer: Tokenizer, dropped: Counter[str]
) -> None:
    """Tables 6 and 26 of this batch, its ratings and its safety labels."""
    tracks: dict[str, Any] = {}
    examples: list[dict[str, Any]] = []
    for track in TRACKS:
        path = workspace.folder / f"{track}-train.jsonl"
        if not path.exists() or not path.stat().st_size:
            continue
        train = list(read_preferences([path]))
        test_path = workspace.folder / f"{track}-test.jsonl"
        has_test = test_path.exists() and test_path.stat().st_size
        num_test = sum(1 for _ in read_preferences([test_path])) if has_test else 0
        tracks[track] = {"train": len(train), "test": num_test, **_statistics(train, tokenizer)}
        examples.extend(
            {
                "prompt": row.prompt[-1].content,
                "chosen": row.chosen,
                "rejected": row.rejected,
                "rating": row.rating,
                "track": track,
            }
            for row in train[:: max(1, len(train) // 4)][:4]
        )
    workspace.write_results(
        {"origin": origin, "tracks": tracks, "dropped": dict(dropped), "examples": examples}
    )


def _statistics(rows: Sequence[Preference], tokenizer: Tokenizer) -> dict[str, Any]:
    ratings = Counter(row.rating for row in rows if row.rating is not None)
    labels = Counter(
        _SAFETY_LABELS[row.chosen_is_safe, row.rejected_is_safe]
        for row in rows
        if row.chosen_is_safe is not None and row.rejected_is_safe is not None
    )
    prompts = [sum(_count(tokenizer, message.content) for message in row.prompt) for row in rows]
    responses = [_count(tokenizer, text) for row in rows for text in (row.chosen, row.rejected)]
    in_response = sum(responses) / max(1, len(responses))
    in_prompt = sum(prompts) / max(1, len(prompts))
    return {
        "turns": sum(sum(m.role == "user" for m in row.prompt) for row in rows) / max(1, len(rows)),
        "tokens_in_prompt": in_prompt,
        "tokens_in_response": in_response,
        "tokens_per_example": in_prompt + in_response,
        "ratings": {r.value: ratings[r] / ratings.total() for r in Rating if ratings},
        "safety_labels": {name: n / labels.total() for name, n in labels.items()},
    }


_SAFETY_LABELS = {
    (True, False): "chosen_safe_other_unsafe",
    (True, True): "both_safe",
    (False, False): "both_unsafe",
    (False, True): "chosen_unsafe_other_safe",
}


def _count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text))
