"""Figures of the study: shares honoured by turn, with Ghost Attention and without, and apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from arriero.data.consistency import read_consistency_tests
from arriero.equations.intervals import paired_interval, wilson_interval
from arriero.records import ConsistencyTest

Json = dict[str, Any]
# Whether each test was honoured at each turn, of one trained model.
Honoured = dict[tuple[int, int], bool]


def summarize(
    run: Path,
    dialogs: str,
    start: str,
    measured: Mapping[str, Sequence[str]],
    tests: Sequence[Path],
) -> Json:
    """Shares of the start and of both arms, all seeds together; differences paired by test."""
    lists: dict[str, list[str]] = json.loads((run / dialogs / "lists.json").read_text("utf-8"))
    read = list(read_consistency_tests(tests))
    models = {"start": [start], **measured}
    outcomes = {
        name: [_honoured(run / folder) for folder in folders] for name, folders in models.items()
    }
    asked = {number for number, _ in outcomes["start"][0]}
    made = _results(run / dialogs)
    unnamed = frozenset[str](made.get("kinds_without_values", ()))
    groups = groups_of(read, lists, unnamed, asked)
    attention = {name: _results(run / folders[0])["attention"] for name, folders in models.items()}
    return {
        "lists": lists,
        "dialogs": {k: v for k, v in made.items() if k != "lists"},
        "tests": {name: len(members) for name, members in groups.items()},
        "tokens": _results(run / start)["tokens"],
        "shares": {
            group: {name: _by_turn(found, members) for name, found in outcomes.items()}
            for group, members in groups.items()
            if members
        },
        "gatt_minus_control": {
            group: _differences(outcomes["gatt"], outcomes["control"], members)
            for group, members in groups.items()
            if members
        },
        "attention": attention,
    }


def groups_of(
    tests: Sequence[ConsistencyTest],
    lists: Mapping[str, Sequence[str]],
    unnamed: Collection[str],
    asked: Collection[int],
) -> dict[str, list[int]]:
    """Numbers of the tests that were asked: trained, untrained, and each kind of both.

    What the model named itself was trained on, whatever the test says of it; of a kind of which it
    named nothing no dialog taught anything.
    """
    groups: dict[str, list[int]] = {"trained": [], "untrained": []}
    for number in sorted(asked):
        test = tests[number]
        is_trained = test.is_trained
        if test.kind in unnamed:
            is_trained = False
        elif test.kind in lists and test.value:
            is_trained = test.value.casefold() in {one.casefold() for one in lists[test.kind]}
        name = "trained" if is_trained else "untrained"
        groups[name].append(number)
        if test.kind:
            groups.setdefault(f"{name} {test.kind}", []).append(number)
    first = {name: groups[name] for name in ("trained", "untrained")}
    return first | dict(sorted(groups.items()))


def _results(folder: Path) -> Json:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def _honoured(folder: Path) -> Honoured:
    lines = (folder / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return {(row["test"], row["turn"]): row["is_honoured"] for row in rows}


def _turns(seeds: Sequence[Honoured]) -> list[int]:
    return sorted({turn for found in seeds for _, turn in found})


def _by_turn(seeds: Sequence[Honoured], members: Sequence[int]) -> dict[str, Json]:
    """Share by turn over all seeds: its interval is Wilson's over tests, as if of one seed.

    The seeds answer the same tests, so more of them narrow nothing.
    """
    shares: dict[str, Json] = {}
    for turn in _turns(seeds):
        values = [found[m, turn] for found in seeds for m in members if (m, turn) in found]
        if not values:
            continue
        share, count = sum(values) / len(values), len(values) / len(seeds)
        low, high = wilson_interval(share * count, count)
        by_seed = [
            sum(own) / len(own)
            for found in seeds
            if (own := [found[m, turn] for m in members if (m, turn) in found])
        ]
        shares[str(turn)] = {
            "share": share,
            "count": len(values),
            "low": low,
            "high": high,
            "seeds": by_seed,
        }
    return shares


def _differences(
    gatt: Sequence[Honoured], control: Sequence[Honoured], members: Sequence[int]
) -> dict[str, Json]:
    """Mean difference by turn with its interval: a test's value is its mean over the seeds."""
    found: dict[str, Json] = {}
    for turn in _turns([*gatt, *control]):
        values = [
            one - other
            for member in members
            if (one := _mean_of(gatt, member, turn)) is not None
            and (other := _mean_of(control, member, turn)) is not None
        ]
        if len(values) > 1:
            estimate = paired_interval(values)
            found[str(turn)] = {
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "tests": len(values),
            }
    return found


def _mean_of(seeds: Sequence[Honoured], member: int, turn: int) -> float | None:
    values = [found[member, turn] for found in seeds if (member, turn) in found]
    return sum(values) / len(values) if values else None
