"""What a set of comparisons is like: Tables 6 and 26, ratings and safety labels (section 3.2.1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arriero.data.preferences import read_preferences
from arriero.data.screening import Dropped
from arriero.records import Preference, Rating
from arriero.records.prompt import Track
from arriero.stages.workspace import Workspace
from arriero.tokenizer.tokenizer import Tokenizer

TRACKS: tuple[Track, ...] = ("helpfulness", "safety")
MAX_GROUPS = 20
OTHERS = "others"

_SAFETY_LABELS = {
    (True, False): "chosen_safe_other_unsafe",
    (True, True): "both_safe",
    (False, False): "both_unsafe",
    (False, True): "chosen_unsafe_other_safe",
}


@dataclass(frozen=True, slots=True)
class _Measured:
    """A comparison with the tokens of its prompt and of its two answers."""

    row: Preference
    in_prompt: int
    in_answers: int


def write_statistics(
    workspace: Workspace, origin: str, tokenizer: Tokenizer, dropped: Dropped
) -> None:
    """What stands in results.json and, row by row, in `dropped.jsonl`."""
    tracks: dict[str, Any] = {}
    examples: list[dict[str, Any]] = []
    for track in TRACKS:
        path = workspace.folder / f"{track}-train.jsonl"
        if not path.exists() or not path.stat().st_size:
            continue
        train = list(read_preferences([path]))
        test_path = workspace.folder / f"{track}-test.jsonl"
        has_test = test_path.exists() and test_path.stat().st_size
        test = list(read_preferences([test_path])) if has_test else []
        by_source = origin == "adopted"
        tracks[track] = track_statistics(train, test, tokenizer, by_source=by_source)
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
    results = {
        "origin": origin,
        "tracks": tracks,
        "dropped": dict(dropped.counts),
        "examples": examples,
    }
    if dropped.rows:
        results["dropped_at"] = dropped.first_places()
        lines = (json.dumps({"where": where, "reason": why}) for where, why in dropped.rows)
        text = "".join(f"{line}\n" for line in lines)
        (workspace.folder / "dropped.jsonl").write_text(text, encoding="utf-8")
    workspace.write_results(results)


def track_statistics(
    train: Sequence[Preference],
    test: Sequence[Preference],
    tokenizer: Tokenizer,
    *,
    by_source: bool,
) -> dict[str, Any]:
    """The figures of a track, and of each batch where rows name one.

    Args:
        train: comparisons to learn from; lengths, ratings and labels are theirs.
        test: comparisons held out, which are counted.
        by_source: give the figures of each data set too, where there are several.
    """
    measured = [_measure(row, tokenizer) for row in train]
    found = {"train": len(train), "test": len(test), **_figures(measured)}
    if any(row.batch for row in (*train, *test)):
        found["batches"] = _grouped(measured, test, lambda row: row.batch or "unnamed")
    if by_source and len({row.source for row in (*train, *test)}) > 1:
        found["sources"] = _grouped(measured, test, lambda row: row.source)
    return found


def statistics(rows: Sequence[Preference], tokenizer: Tokenizer) -> dict[str, Any]:
    """Means of turns and tokens over some comparisons, and the shares of ratings and labels.

    An example is a prompt with one answer.
    """
    return _figures([_measure(row, tokenizer) for row in rows])


def _figures(measured: Sequence[_Measured]) -> dict[str, Any]:
    rows = [each.row for each in measured]
    ratings = Counter(row.rating for row in rows if row.rating is not None)
    labels = Counter(
        _SAFETY_LABELS[row.chosen_is_safe, row.rejected_is_safe]
        for row in rows
        if row.chosen_is_safe is not None and row.rejected_is_safe is not None
    )
    in_prompt = sum(each.in_prompt for each in measured) / max(1, len(rows))
    in_response = sum(each.in_answers for each in measured) / max(1, 2 * len(rows))
    return {
        "turns": sum(sum(m.role == "user" for m in row.prompt) for row in rows) / max(1, len(rows)),
        "tokens_in_prompt": in_prompt,
        "tokens_in_response": in_response,
        "tokens_per_example": in_prompt + in_response,
        "ratings": {r.value: ratings[r] / ratings.total() for r in Rating if ratings},
        "safety_labels": {name: n / labels.total() for name, n in labels.items()},
    }


def _grouped(
    measured: Sequence[_Measured],
    test: Sequence[Preference],
    group_of: Callable[[Preference], str],
) -> dict[str, Any]:
    """The figures by group, in the order in which they come; small ones beyond some go together."""
    sizes = Counter(group_of(each.row) for each in measured)
    sizes.update(group_of(row) for row in test)
    shown = {name for name, _ in sizes.most_common(MAX_GROUPS)}
    names = [name for name in sizes if name in shown] + [OTHERS] * (len(sizes) > len(shown))

    def name_of(row: Preference) -> str:
        name = group_of(row)
        return name if name in shown else OTHERS

    found: dict[str, Any] = {}
    for name in names:
        members = [each for each in measured if name_of(each.row) == name]
        held_out = sum(name_of(row) == name for row in test)
        found[name] = {"train": len(members), "test": held_out, **_figures(members)}
    return found


def _measure(row: Preference, tokenizer: Tokenizer) -> _Measured:
    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    in_prompt = sum(count(message.content) for message in row.prompt)
    return _Measured(row, in_prompt, count(row.chosen) + count(row.rejected))
