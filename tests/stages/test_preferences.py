"""Comparisons: who rates what, what is dropped, which prompts never meet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arriero.data.preferences import read_preferences
from arriero.data.prompts import read_prompts
from arriero.data.writing import write_preferences
from arriero.inference.generate import Sampling
from arriero.records import Judgment, Message, Preference, Prompt, Rating, UserError
from arriero.records.prompt import Track
from arriero.stages import preferences
from arriero.stages.adoption import adopt
from arriero.stages.preference_statistics import TRACKS, statistics
from arriero.stages.preferences import PreferencesConfig, collect
from arriero.tokenizer import Tokenizer

from .conftest import CONFIG, WORDS, NewWorkspace, results

SMALL = PreferencesConfig(max_new_tokens=24)


class Reader:
    """Prefers the longer answer; finds one with an even number of letters safe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []

    def compare(self, prompt: Prompt, answer_a: str, answer_b: str) -> Judgment:
        self.asked.append(prompt.id)
        return Judgment(
            prefers_a=len(answer_a) >= len(answer_b),
            rating=Rating.BETTER,
            a_is_safe=len(answer_a) % 2 == 0,
            b_is_safe=len(answer_b) % 2 == 0,
        )


def prompts(count: int, track: Track = "helpfulness", start: int = 0) -> list[Prompt]:
    return [
        Prompt(f"{track}-{n}", (Message("user", f"{WORDS[n % 14]} {n}"),), track, "asking")
        for n in range(start, start + count)
    ]


def row(number: int, track: Track = "helpfulness", **more: Any) -> Preference:
    prompt = (Message("user", f"{WORDS[number % 14]} {number}"),)
    return Preference(prompt, "yes please", "no", track=track, **more)


def test_annotators_rate_in_turn_and_unsafe_choices_go(
    chat_folder: Path, workspace: NewWorkspace
) -> None:
    space, readers = workspace(), (Reader("ana"), Reader("bruno"))
    asked = [*prompts(12), *prompts(12, "safety", start=12)]
    collect(
        SMALL,
        variants=(chat_folder, chat_folder),
        prompts={"train": asked, "test": prompts(6, start=40)},
        annotators=readers,
        workspace=space,
    )
    turns = {name: 0 if n % 2 == 0 else 1 for n, name in enumerate(p.id for p in asked)}
    for which, reader in enumerate(readers):
        assert [name for name in reader.asked if turns.get(name, which) != which] == []
    found = results(space)
    num_kept = 0
    for track in TRACKS:
        rows = list(read_preferences([space.folder / f"{track}-train.jsonl"]))
        num_kept += len(rows)
        for item in rows:
            assert len(item.chosen) >= len(item.rejected)
            assert item.rating == Rating.BETTER
            assert item.chosen_is_safe == (len(item.chosen) % 2 == 0)
            assert item.chosen_is_safe or not item.rejected_is_safe
            assert item.track == track
            assert item.annotator == ("ana", "bruno")[turns[item.prompt_id]]
        assert found["tracks"][track]["train"] == len(rows)
        assert found["tracks"][track]["ratings"]["better"] == 1.0
    tested = list(read_preferences([space.folder / "helpfulness-test.jsonl"]))
    total = num_kept + len(tested) + sum(found["dropped"].values())
    assert total == 30
    assert found["dropped"]["chosen is unsafe, the other safe"] > 0
    assert not (space.folder / "safety-test.jsonl").read_text()


class Named:
    """In place of a model: answers with its name and the temperature."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answers(self, members: list[Prompt], sampling: Sampling, *, seed: int) -> list[Any]:
        text, whole = f"{self.name} {sampling.temperature}", SimpleNamespace(ended=True)
        return [[SimpleNamespace(text=text, completion=whole)] for _ in members]


def test_either_model_may_be_answer_a_at_any_temperature() -> None:
    """An annotator with a liking for the first answer must not favour one of the models."""
    models: Any = [Named("final"), Named("early")]
    drawn_pairs = preferences._pairs(SMALL, models, prompts(200), 3)
    pairs = [(a or "", b or "") for _, (a, b) in drawn_pairs]
    names = Counter((a.split()[0], b.split()[0]) for a, b in pairs)
    assert names.keys() == {("final", "early"), ("early", "final")}
    assert min(names.values()) > 70
    drawn = Counter(tuple(sorted(text.split()[1] for text in pair)) for pair in pairs)
    assert len(drawn) == 10  # all pairs of four temperatures: both sides are drawn apart


def test_what_teaches_nothing_is_dropped() -> None:
    prompt, dropped = prompts(1)[0], Counter[str]()
    assert preferences._rate(Reader("ana"), prompt, ("same", "same"), "", dropped) == []
    assert preferences._rate(Reader("ana"), prompt, ("", "text"), "", dropped) == []
    assert preferences._rate(Reader("ana"), prompt, ("text", None), "", dropped) == []
    assert preferences._rate(Reader("ana"), prompt, ("odd", "ab"), "", dropped) == []
    (kept,) = preferences._rate(Reader("ana"), prompt, ("ab", "even"), "", dropped)
    assert (kept.chosen, kept.rejected) == ("even", "ab")
    assert (kept.chosen_is_safe, kept.rejected_is_safe) == (True, True)
    assert dropped == {
        "the two answers are the same": 1,
        "an answer is empty": 1,
        "an answer was cut off": 1,
        "chosen is unsafe, the other safe": 1,
    }


def written(folder: Path, name: str, rows: list[Preference]) -> Path:
    path = folder / f"{name}.jsonl"
    write_preferences(path, rows)
    return path


def adopted(
    folder: Path, chat_folder: Path, space: Any, files: dict[Track, list[Preference]], **more: Any
) -> None:
    adopt(
        SMALL.model_copy(update=more),
        files={track: [written(folder, track, rows)] for track, rows in files.items()},
        tokenizer_folder=chat_folder,
        context=CONFIG.context,
        workspace=space,
    )


def sides(space: Any, track: Track) -> dict[str, set[str]]:
    """The last words of the prompts of each file."""
    found: dict[str, set[str]] = {}
    for split in ("train", "test"):
        rows = read_preferences([space.folder / f"{track}-{split}.jsonl"])
        found[split] = {item.prompt[-1].content for item in rows}
    for name in ("held_out", "rejection", "ppo", f"test-{track}"):
        members = read_prompts([space.folder / f"prompts-{name}.jsonl"])
        found[name] = {p.messages[-1].content for p in members if p.track == track}
    return found


def test_a_prompt_stands_on_one_side(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    space = workspace()
    # Every prompt twice, with two ratings.
    rows = [row(n, rating=r) for n in range(40) for r in (Rating.BETTER, None)]
    others = [row(n, "safety") for n in range(100, 140)]
    adopted(tmp_path, chat_folder, space, {"helpfulness": rows, "safety": others})
    for track in TRACKS:
        found = sides(space, track)
        assert found["rejection"] == found["ppo"]
        del found["ppo"]
        assert {name: len(members) for name, members in found.items()} == {
            "test-" + track: 2, "held_out": 1, "rejection": 7, "test": 4, "train": 26,
        }  # fmt: skip
        assert len(set().union(*found.values())) == 40


def test_a_prompt_of_both_tracks_stands_on_one_side_of_both(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    """Either reward model learns from both tracks: what one tests the other must not train on."""
    space = workspace()
    helpful = [row(n) for n in range(40)]
    safe = [row(n, "safety") for n in range(10, 70)]
    adopted(tmp_path, chat_folder, space, {"helpfulness": helpful, "safety": safe})
    first, second = sides(space, "helpfulness"), sides(space, "safety")
    for name, members in first.items():
        twin = name.replace("helpfulness", "safety")
        for other, others in second.items():
            if other != twin and {name, other} != {"rejection", "ppo"}:
                assert not members & others, (name, other)


def test_rows_of_no_use_are_counted(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    space = workspace()
    rows = [row(n) for n in range(30)]
    rows.append(row(30, chosen_is_safe=False, rejected_is_safe=True))
    long = " ".join(WORDS * 6)
    rows.append(Preference((Message("user", "salt"),), long, "no"))
    adopted(tmp_path, chat_folder, space, {"helpfulness": rows}, max_pairs=5)
    found = results(space)
    assert found["dropped"] == {
        "chosen is unsafe, the other safe": 1,
        "longer than the context": 1,
    }
    assert found["tracks"]["helpfulness"]["train"] == 5
    assert all("salt" not in members for members in sides(space, "helpfulness").values())


def test_too_few(chat_folder: Path, workspace: NewWorkspace, tmp_path: Path) -> None:
    rows = [row(n) for n in range(4)]
    with pytest.raises(UserError, match="helpfulness preferences: 4 usable prompts are too few"):
        adopted(tmp_path, chat_folder, workspace(), {"helpfulness": rows})


def test_statistics_by_hand(tokenizer: Tokenizer) -> None:
    longer = (Message("user", "salt"), Message("assistant", "wool"), Message("user", "river"))
    rows = [
        Preference((Message("user", "salt"),), "yes", "no", Rating.BETTER, True, False),
        Preference(longer, "yes please", "no", Rating.SLIGHTLY_BETTER, True, True),
        Preference((Message("user", "wool"),), "yes", "please", None, None, None),
    ]
    found = statistics(rows, tokenizer)

    def count(*texts: str) -> int:
        return sum(len(tokenizer.encode(text)) for text in texts)

    assert found["turns"] == pytest.approx(4 / 3)
    in_prompt = count("salt", "salt", "wool", "river", "wool") / 3
    in_response = count("yes", "no", "yes please", "no", "yes", "please") / 6
    assert found["tokens_in_prompt"] == pytest.approx(in_prompt)
    assert found["tokens_in_response"] == pytest.approx(in_response)
    assert found["tokens_per_example"] == pytest.approx(in_prompt + in_response)
    assert found["ratings"] == {
        "significantly_better": 0.0,
        "better": 0.5,
        "slightly_better": 0.5,
        "negligibly_better": 0.0,
    }
    assert found["safety_labels"] == {"chosen_safe_other_unsafe": 0.5, "both_safe": 0.5}
