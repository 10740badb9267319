"""Batches in time, one's own test files, and what is counted of a data set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.data.writing import write_preferences
from arriero.records import Message, Preference, Rating, UserError
from arriero.records.prompt import Track
from arriero.stages.adoption import HELD_OUT, adopt
from arriero.stages.preference_statistics import MAX_GROUPS, TRACKS, track_statistics
from arriero.stages.preferences import PreferencesConfig
from arriero.tokenizer import Tokenizer

from .conftest import CONFIG, WORDS, NewWorkspace, results

CONFIG_OF_STAGE = PreferencesConfig(policy_share=0.1)


def row(number: int, **more: Any) -> Preference:
    prompt = (Message("user", f"{WORDS[number % 14]} {number}"),)
    return Preference(prompt, "yes please", "no", **more)


def written(path: Path, rows: list[Preference]) -> Path:
    write_preferences(path, rows)
    return path


def run(
    space: Any,
    chat_folder: Path,
    files: list[Path],
    tests: dict[Track, list[Path]] | None = None,
    **keys: Any,
) -> dict[str, list[Preference]]:
    """The comparisons to train on and those held out."""
    adopt(
        CONFIG_OF_STAGE.model_copy(update=keys),
        files={"helpfulness": files},
        tests=tests,
        tokenizer_folder=chat_folder,
        context=CONFIG.context,
        workspace=space,
    )
    return {
        split: list(read_preferences([space.folder / f"helpfulness-{split}.jsonl"]))
        for split in ("train", "test")
    }


def batches(rows: list[Preference]) -> Counter[str]:
    return Counter(item.batch for item in rows)


def test_every_batch_gives_its_share(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    rows = [row(n, batch=name) for name, start, end in (("1", 0, 60), ("2", 60, 90))
            for n in range(start, end)]  # fmt: skip
    path = written(tmp_path / "a.jsonl", rows)
    space = workspace()
    found = run(space, chat_folder, [path], test_share=0.2)
    assert batches(found["test"]) == {"1": 12, "2": 6}
    assert batches(found["train"]).total() == 90 - 9 - 18
    figures = results(space)["tracks"]["helpfulness"]["batches"]
    assert {name: (f["train"], f["test"]) for name, f in figures.items()} == {
        name: (batches(found["train"])[name], batches(found["test"])[name]) for name in ("1", "2")
    }


def test_a_number_of_each_batch_by_prompt(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    """Prompts have three comparisons each: ten are reached with the fourth prompt."""
    files = [
        written(
            tmp_path / f"week-{week}.jsonl",
            [
                Preference((Message("user", f"{WORDS[n % 14]} {n}"),), f"yes {k}", "no")
                for n in range(start, start + 40)
                for k in range(3)
            ],
        )
        for week, start in ((1, 0), (2, 40))
    ]
    found = run(workspace(), chat_folder, files, test_pairs=10, files_are_batches=True)
    assert sorted(batches(found["test"]).values()) == [12, 12]
    tested = {item.prompt for item in found["test"]}
    assert len(tested) == 8
    assert not tested & {item.prompt for item in found["train"]}
    with pytest.raises(UserError, match=r"batch .*week-\d: \d+ comparisons .* to hold out 500"):
        run(workspace("b"), chat_folder, files, test_pairs=500, files_are_batches=True)
    with pytest.raises(UserError, match=r"the data: \d+ comparisons"):
        run(workspace("c"), chat_folder, files, test_pairs=500)


def test_ones_own_test_files(chat_folder: Path, workspace: NewWorkspace, tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", [row(n) for n in range(40)])
    test = written(tmp_path / "test.jsonl", [row(n) for n in range(100, 105)])
    found = run(workspace(), chat_folder, [train], {"helpfulness": [test]})
    assert [item.prompt for item in found["test"]] == [row(n).prompt for n in range(100, 105)]
    assert len(found["train"]) == 36


@pytest.mark.parametrize("owner", ["helpfulness", "safety"])
def test_a_track_with_a_test_file_holds_out_nothing_else(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path, owner: Track
) -> None:
    """All prompts of the other track are shared, and its batches give their number whole."""
    other: Track = "safety" if owner == "helpfulness" else "helpfulness"
    mine = written(tmp_path / "mine.jsonl", [row(n) for n in range(80)])
    theirs = [row(n, batch=str(n // 30)) for n in range(60)]
    test = written(tmp_path / "test.jsonl", [row(n) for n in range(100, 105)])
    files = {owner: [mine], other: [written(tmp_path / "theirs.jsonl", theirs)]}
    space = workspace()
    adopt(
        CONFIG_OF_STAGE.model_copy(update={"test_pairs": 10}),
        files={track: files[track] for track in TRACKS},
        tests={owner: [test]},
        tokenizer_folder=chat_folder,
        context=CONFIG.context,
        workspace=space,
    )
    rows = {
        (track, split): list(read_preferences([space.folder / f"{track}-{split}.jsonl"]))
        for track in files
        for split in ("train", "test")
    }
    assert batches(rows[other, "test"]) == {"0": 10, "1": 10}
    assert [item.prompt for item in rows[owner, "test"]] == [row(n).prompt for n in range(100, 105)]
    tested = {item.prompt for item in rows[other, "test"]}
    learned = {item.prompt for track in files for item in rows[track, "train"]}
    assert not tested & learned
    # Of 60 shared prompts six are kept back for the policy, of the 20 others at least three.
    assert len(rows[owner, "train"]) == 80 - 6 - 3 - 20
    found = results(space)
    assert found["dropped"] == {HELD_OUT: 20}
    at = [mine.read_text().splitlines()[int(where.rpartition(":")[2]) - 1]
          for where in found["dropped_at"][HELD_OUT]]  # fmt: skip
    assert {json.loads(line)["prompt"][0]["content"] for line in at} <= {
        prompt[0].content for prompt in tested
    }


@pytest.mark.parametrize("track", ["helpfulness", "safety"])
def test_a_test_prompt_in_the_training_set_is_refused(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path, track: Track
) -> None:
    """In the files of either track, and before anything is written."""
    shouted = Preference((Message("user", row(7).prompt[0].content.upper() + "  "),), "a", "b")
    train = written(tmp_path / "train.jsonl", [row(n) for n in range(40)])
    test = written(tmp_path / "test.jsonl", [row(100), shouted])
    space = workspace()
    with pytest.raises(UserError) as caught:
        run(space, chat_folder, [train], {track: [test]})
    assert str(caught.value).startswith(
        f"{train}:8: this prompt is a test prompt too, at {test}:2; remove it from one"
    )
    assert not list(space.folder.iterdir())


def test_every_dropped_row_is_named(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(30)]
    rows += [row(3), row(40, chosen_is_safe=False, rejected_is_safe=True)]
    rows.append(Preference((Message("user", "salt"),), " ".join(WORDS * 6), "no"))
    rows += [Preference((Message("user", "wool"),), *sides) for sides in (("a", "b"), ("b", "a"))]
    path = written(tmp_path / "a.jsonl", rows)
    space = workspace()
    run(space, chat_folder, [path])
    expected = {
        "the same pair again": [31],
        "chosen is unsafe, the other safe": [32],
        "longer than the context": [33],
        "the same pair with both choices": [34, 35],
    }
    found = results(space)
    assert found["dropped"] == {reason: len(lines) for reason, lines in expected.items()}
    assert found["dropped_at"] == {
        reason: [f"{path}:{line}" for line in lines] for reason, lines in expected.items()
    }
    log = [json.loads(line) for line in (space.folder / "dropped.jsonl").read_text().splitlines()]
    assert {(item["where"], item["reason"]) for item in log} == {
        (f"{path}:{line}", reason) for reason, lines in expected.items() for line in lines
    }


def test_a_shorter_limit_than_the_context(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(30)]
    rows.append(Preference((Message("user", "salt"),), " ".join(WORDS), "no"))
    path = written(tmp_path / "a.jsonl", rows)
    run(workspace("a"), chat_folder, [path])
    space = workspace("b")
    run(space, chat_folder, [path], max_tokens=40)
    assert results(space)["dropped"] == {"longer than preferences.max_tokens": 1}
    space = workspace("c")
    run(space, chat_folder, [path], max_tokens=CONFIG.context)
    assert results(space)["dropped"] == {}


def test_figures_by_batch_and_data_set(tokenizer: Tokenizer) -> None:
    rows = [
        row(1, batch="1", source="own", rating=Rating.BETTER),
        row(2, batch="1", source="open"),
        row(3, source="own", rating=Rating.BETTER),
    ]
    held_out = [row(4, batch="2", source="own")]
    found = track_statistics(rows, held_out, tokenizer, by_source=True)
    sizes = {
        key: {name: (of["train"], of["test"]) for name, of in found[key].items()}
        for key in ("batches", "sources")
    }
    assert sizes == {
        "batches": {"1": (2, 0), "unnamed": (1, 0), "2": (0, 1)},
        "sources": {"own": (2, 1), "open": (1, 0)},
    }
    own = found["sources"]["own"]
    tokens = [len(tokenizer.encode(rows[n].prompt[0].content)) for n in (0, 2)]
    assert own["tokens_in_prompt"] == pytest.approx(sum(tokens) / 2)
    assert own["ratings"]["better"] == 1.0
    assert "sources" not in track_statistics(rows, held_out, tokenizer, by_source=False)
    assert "batches" not in track_statistics(rows[2:], [], tokenizer, by_source=True)


def test_small_data_sets_go_together(tokenizer: Tokenizer) -> None:
    rows = [row(n, source=f"set {n}") for n in range(MAX_GROUPS + 5) for _ in range(1 + (n < 3))]
    found = track_statistics(rows, [], tokenizer, by_source=True)["sources"]
    assert len(found) == MAX_GROUPS + 1
    assert found["others"]["train"] == 5
    assert sum(of["train"] for of in found.values()) == len(rows)
