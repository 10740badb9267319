"""Stage `preferences` with comparisons that exist already: screened, and split by prompt.

The paper collected them in weekly batches and held out 1,000 of each (section 3.2.1). Here too
every batch that rows name, or that is a file of its own, gives its share of what is held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from arriero.data.prompts import prompts_file
from arriero.data.screening import (
    UNSAFE_CHOICE,
    Dropped,
    PlacedPreference,
    is_kept,
    read_placed,
    without_repeats,
)
from arriero.data.tags import prompt_key
from arriero.data.writing import write_preferences, write_prompts
from arriero.records import Preference, Prompt, UserError
from arriero.records.prompt import Track
from arriero.stages.preference_statistics import write_statistics
from arriero.stages.preferences import PreferencesConfig
from arriero.stages.workspace import Workspace
from arriero.tokenizer.chat import encode_answer, encode_prompt
from arriero.tokenizer.load import load_tokenizer
from arriero.tokenizer.tokenizer import Tokenizer

# The comparisons of each prompt, by its key.
_ByPrompt = Mapping[str, Sequence[PlacedPreference]]
_SIDES = ("final", "held_out", "policy", "test", "train")

HELD_OUT = "the prompt is held out for the other track"


def adopt(
    config: PreferencesConfig,
    *,
    files: Mapping[Track, Sequence[Path]],
    tests: Mapping[Track, Sequence[Path]] | None = None,
    tokenizer_folder: Path,
    context: int,
    workspace: Workspace,
    versions: int = 1,
) -> None:
    """Split comparisons that exist already; a prompt never stands on two sides.

    Some prompts are kept back for the policy: rejection sampling, PPO, its early stop and the final
    evaluation ask what the reward models have not seen. What is dropped stands in `dropped.jsonl`.

    Args:
        tests: comparisons that the user holds out; a track that has some gives none of its own.
        versions: among so many the prompts of rejection sampling and of PPO are shared out.

    Raises:
        UserError: too few prompts, a batch too small, or a test prompt among the others.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    dropped = Dropped()
    longest = _longest(config, context)

    def usable(track: Track, paths: Sequence[Path]) -> _ByPrompt:
        return _usable(config, tokenizer, track, paths, longest, dropped)

    held_out: dict[Track, _ByPrompt] = {}
    found: dict[Track, _ByPrompt] = {}
    for track, paths in (tests or {}).items():
        held_out[track] = usable(track, paths)
    for track, paths in files.items():
        found[track] = usable(track, paths)
    _refuse_leaks(found, held_out)
    split = _split(config, found, held_out, np.random.default_rng(workspace.seed), dropped)
    kept_back: dict[str, list[Prompt]] = {"held_out": [], "rejection": [], "ppo": []}
    for track, rows in split.items():
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
        count = versions if name in ("rejection", "ppo") else 1
        if len(prompts) < count:
            raise UserError(
                f"{len(prompts)} prompts kept back for the policy are too few for {count} "
                "versions; raise preferences.policy_share or lower versions.rlhf"
            )
        for version in range(1, count + 1):
            path = prompts_file(workspace.folder, name, version, count)
            write_prompts(path, prompts[version - 1 :: count])
    write_statistics(workspace, "adopted", tokenizer, dropped)


def _longest(config: PreferencesConfig, context: int) -> tuple[int, str]:
    """The most tokens of a prompt with an answer, and why a longer comparison is dropped."""
    if 0 < config.max_tokens < context:
        return config.max_tokens, "longer than preferences.max_tokens"
    return context, "longer than the context"


def _usable(
    config: PreferencesConfig,
    tokenizer: Tokenizer,
    track: Track,
    paths: Sequence[Path],
    longest: tuple[int, str],
    dropped: Dropped,
) -> _ByPrompt:
    """The comparisons of a track that teach something, by prompt; the others are counted."""
    kept: list[PlacedPreference] = []
    max_tokens, too_long = longest
    batched = config.files_are_batches
    for placed in read_placed(paths, track, dropped, files_are_batches=batched):
        if not is_kept(placed.row):
            dropped.add(UNSAFE_CHOICE, placed.where)
        elif _length(tokenizer, placed.row) > max_tokens:
            dropped.add(too_long, placed.where)
        else:
            kept.append(PlacedPreference(placed.where, replace(placed.row, track=track)))
    by_prompt: dict[str, list[PlacedPreference]] = {}
    for placed in without_repeats(kept, dropped):
        by_prompt.setdefault(prompt_key(placed.row.prompt), []).append(placed)
    return by_prompt


def _refuse_leaks(found: Mapping[Track, _ByPrompt], held_out: Mapping[Track, _ByPrompt]) -> None:
    """Either reward model learns from both tracks: a test prompt must stand in none of them."""
    tests = {key: rows[0] for by_prompt in held_out.values() for key, rows in by_prompt.items()}
    for by_prompt in found.values():
        for key, rows in by_prompt.items():
            if key in tests:
                raise UserError(
                    f"{rows[0].where}: this prompt is a test prompt too, at {tests[key].where}; "
                    "remove it from one (`arriero check-data FILE --against OTHER` lists them all)"
                )


def _split(
    config: PreferencesConfig,
    found: Mapping[Track, _ByPrompt],
    held_out: Mapping[Track, _ByPrompt],
    random: np.random.Generator,
    dropped: Dropped,
) -> dict[Track, dict[str, list[Preference]]]:
    """The comparisons of each track by side."""
    split: dict[Track, dict[str, list[Preference]]] = {}
    sides: dict[str, str] = {}
    # First a track that holds out some of its own, so that its batches give what they should.
    for track in sorted(found, key=lambda track: track in held_out):
        by_prompt = found[track]
        # A prompt that the other track has too stands where it stands there.
        new = [key for key in by_prompt if key not in sides]
        order = [new[index] for index in random.permutation(len(new)).tolist()]
        sides |= _sides(config, order, by_prompt, has_tests=track in held_out)
        rows: dict[str, list[Preference]] = {side: [] for side in _SIDES}
        for key, side in sides.items():
            rows[side].extend(placed.row for placed in by_prompt.get(key, []))
        if track in held_out:
            _replace_test(rows, sides, by_prompt, held_out[track], dropped)
        if not all(rows.values()):
            raise UserError(f"{track} preferences: {len(by_prompt)} usable prompts are too few")
        split[track] = rows
    return {track: split[track] for track in found}


def _replace_test(
    rows: dict[str, list[Preference]],
    sides: Mapping[str, str],
    by_prompt: _ByPrompt,
    held_out: _ByPrompt,
    dropped: Dropped,
) -> None:
    """The user's comparisons as the test of a track; what the other track holds out is dropped.

    Either reward model learns from both tracks, so it can be nowhere else.
    """
    for key, comparisons in by_prompt.items():
        if sides[key] == "test":
            for placed in comparisons:
                dropped.add(HELD_OUT, placed.where)
    rows["test"] = [placed.row for comparisons in held_out.values() for placed in comparisons]


def _sides(
    config: PreferencesConfig, order: Sequence[str], by_prompt: _ByPrompt, *, has_tests: bool
) -> dict[str, str]:
    """The side of each shuffled prompt: those kept back, then of each batch those of its test.

    A prompt belongs to the batch of its first comparison.
    """
    num_policy = max(3, int(len(order) * config.policy_share))
    num_final = max(1, round(num_policy * config.final_share))
    num_held_out = max(1, round(num_policy * config.held_out_share))
    first = ["final"] * num_final + ["held_out"] * num_held_out
    first += ["policy"] * (num_policy - len(first))
    sides = dict(zip(order, first, strict=False))
    left = order[len(sides) :]
    wanted = {} if has_tests else _test_sizes(config, order, left, by_prompt)
    taken: Counter[str] = Counter()
    for key in left:
        batch = by_prompt[key][0].row.batch
        sides[key] = "test" if taken[batch] < wanted.get(batch, 0) else "train"
        taken[batch] += len(by_prompt[key]) if config.test_pairs else 1
    return sides


def _test_sizes(
    config: PreferencesConfig, order: Sequence[str], left: Sequence[str], by_prompt: _ByPrompt
) -> dict[str, int]:
    """What each batch holds out: comparisons if `test_pairs` says how many, prompts by share."""
    prompts = Counter(by_prompt[key][0].row.batch for key in order)
    if not config.test_pairs:
        return {batch: max(1, int(num * config.test_share)) for batch, num in prompts.items()}
    pairs: Counter[str] = Counter()
    for key in left:
        pairs[by_prompt[key][0].row.batch] += len(by_prompt[key])
    for batch in prompts:
        if pairs[batch] <= config.test_pairs:
            name = f"batch {batch}" if batch else "the data"
            raise UserError(
                f"{name}: {pairs[batch]} comparisons beside the policy's are too few to hold out "
                f"{config.test_pairs}; lower preferences.test_pairs, or set it to 0 for a share"
            )
    return dict.fromkeys(prompts, config.test_pairs)


def _prompts(track: Track, side: str, rows: Mapping[str, Sequence[Preference]]) -> list[Prompt]:
    """The prompts of a side, each once."""
    sources = {row.prompt: row.source for row in rows[side]}
    return [
        Prompt(f"{track}-{side}-{number}", messages, track, source)
        for number, (messages, source) in enumerate(sources.items())
    ]


def _length(tokenizer: Tokenizer, row: Preference) -> int:
    answers = (encode_answer(tokenizer, text) for text in (row.chosen, row.rejected))
    return len(encode_prompt(tokenizer, row.prompt)) + max(len(answer) for answer in answers)
