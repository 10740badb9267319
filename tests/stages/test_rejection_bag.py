"""Rejection sampling that remembers: targets from all versions, and what of a bag is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment import bag
from arriero.alignment.bag import Samples, part_of, parts_of, read_part, samples_in, write_part
from arriero.alignment.scoring import score_sequences
from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_dialogs, write_prompts
from arriero.equations.reward import composite_score
from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import load_score_model, save_language_model, save_score_model
from arriero.records import Dialog, Message, Prompt, UserError
from arriero.stages import rejection, rejection_samples
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from arriero.tokenizer.chat import encode_dialog

from .conftest import CONFIG, WORDS, NewWorkspace, results, same_weights
from .test_rejection import PROMPTS, SMALL, Tuned

MORE = [
    Prompt(f"q{n}", (Message("user", f"{WORDS[n]} {WORDS[n + 1]}"),), category="talk")
    for n in range(6)
]


class Road:
    """Versions one after another, each in a folder of its own."""

    def __init__(
        self, place: Path, chat_folder: Path, rewards: tuple[Path, Path], workspace: NewWorkspace
    ) -> None:
        self.place, self.chat, self.rewards = place, chat_folder, rewards
        self.said: list[str] = []
        self._workspace = workspace
        shown = [Dialog((Message("user", f"show {n}"), Message("assistant", "thanks")))
                 for n in range(60)]  # fmt: skip
        write_dialogs(place / "instructions.jsonl", shown)

    def space(self, name: str) -> Workspace:
        return replace(self._workspace(name), say=self.said.append)

    def run(
        self, name: str, prompts: Sequence[Prompt], changes: dict[str, Any], **more: Any
    ) -> Workspace:
        """One version; `name` is such as `07-rejection-v1`."""
        space, path = self.space(name), self.place / f"prompts-{name}.jsonl"
        write_prompts(path, prompts)
        given: dict[str, Any] = {
            "base": self.chat,
            "policy": self.chat,
            "rewards": self.rewards,
            "version": name.rpartition("-")[2],
        }
        rejection.run(
            SMALL.model_copy(update={"temperatures": (1.0,), **changes}),
            prompts=[path],
            instructions=[self.place / "instructions.jsonl"],
            workspace=space,
            **given | more,
        )
        return space


@pytest.fixture
def road(
    tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path], workspace: NewWorkspace
) -> Road:
    return Road(tmp_path, chat_folder, reward_folders, workspace)


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> Tuned:
    return Tuned(monkeypatch)


def other_rewards(folder: Path, tokenizer: Tokenizer) -> tuple[Path, Path]:
    """Reward models that were trained anew."""
    for seed, name in enumerate(("helpfulness", "safety")):
        model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, seed + 40), seed + 9)
        with torch.no_grad():
            model.score.weight.mul_(20)
        save_score_model(model, folder / name, tokenizer.special)
        tokenizer.save(folder / name, model_max_length=64)
    return folder / "helpfulness", folder / "safety"


def targets(space: Workspace) -> dict[tuple[Message, ...], Dialog]:
    return {dialog.prompt: dialog for dialog in read_dialogs([space.folder / "targets.jsonl"])}


def score_alone(rewards: tuple[Path, Path], tokenizer: Tokenizer, row: Samples, at: int) -> float:
    """The composite score of one sample, from its text, by itself."""
    dialog = Dialog(row.prompt.messages).answered(row.answers[at], is_cut=not row.ended[at])
    ids = [encode_dialog(tokenizer, dialog).ids]
    helpfulness, safety = (score_sequences(load_score_model(f), ids) for f in rewards)
    tag = torch.tensor([row.prompt.track == "safety"])
    return float(composite_score(helpfulness, safety, tag))


def test_the_best_of_all_versions_by_the_newest_reward_models(
    road: Road, tuned: Tuned, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Every candidate is scored again one by one, and the best found by looking at all."""
    new = other_rewards(tmp_path / "rewards-v2", tokenizer)
    first = road.run("07-rejection-v1", PROMPTS, {})
    # The same six prompts again, answered by the same policy from another seed, and six more.
    space = replace(road.space("14-rejection-v2"), seed=3)
    road.space = lambda name: space
    changes = {"selection": "all", "bag_top": 4}
    road.run("14-rejection-v2", [*PROMPTS[:6], *MORE], changes, bags=[first.folder], rewards=new)

    best: dict[tuple[Message, ...], tuple[tuple[bool, float], str, str]] = {}
    for row in samples_in(space.folder):
        at = max(range(4), key=lambda at: (row.ended[at], row.scores[at]))
        if row.answers[at]:  # an empty answer is no target, the best of its prompt or not
            rank = (row.ended[at], round(row.scores[at], 4))
            best[row.prompt.messages] = (rank, row.answers[at], "v2")
    for row in samples_in(first.folder):
        for at, answer in enumerate(row.answers):
            rank = (row.ended[at], round(score_alone(new, tokenizer, row, at), 4))
            known = best.get(row.prompt.messages)
            if answer and (known is None or rank > known[0]):
                best[row.prompt.messages] = (rank, answer, "v1")
    found = targets(space)
    assert len(found) >= 14
    assert {key: dialog.answer for key, dialog in found.items()} == {
        key: answer for key, (_, answer, _) in best.items()
    }
    chosen = [version for _, _, version in best.values()]
    won_again = [best[p.messages][2] for p in PROMPTS[:6] if p.messages in best]
    assert {"v1", "v2"} == set(won_again)  # else this showed nothing
    assert results(space)["bag"] == {
        "v2": {"prompts": 12, "chosen": chosen.count("v2")},
        "v1": {"prompts": 12, "chosen": chosen.count("v1")},
    }
    assert {d.source.split()[1] for d in found.values() if d.prompt == PROMPTS[11].messages} == {
        "v1"
    }


def test_old_scores_choose_which_few_are_scored_again(road: Road, tuned: Tuned) -> None:
    """Scores on disk are changed so that the worst is the best; with bag_top 1 it alone is seen."""
    first = road.run("07-rejection-v1", PROMPTS, {})
    [part] = parts_of(first.folder)
    rows = [
        replace(
            row,
            answers=("bread", *row.answers[1:]),
            ended=(True, *row.ended[1:]),
            scores=(1e6, *row.scores[1:]),
        )
        for row in read_part(part)
    ]
    part.unlink()
    write_part(first.folder, 0, rows)
    second = road.run("14-rejection-v2", MORE, {"bag_top": 1}, bags=[first.folder])
    found = targets(second)
    assert {found[prompt.messages].answer for prompt in PROMPTS} == {"bread"}
    third = road.run("15-rejection-v2", MORE, {"bag_top": 4}, bags=[first.folder])
    assert {targets(third)[prompt.messages].answer for prompt in PROMPTS} != {"bread"}


def test_the_newest_version_alone(road: Road, tuned: Tuned) -> None:
    """The bags are not even read."""
    first = road.run("07-rejection-v1", PROMPTS, {})
    alone = road.run("14-rejection-v2", MORE, {})
    [part] = parts_of(first.folder)
    part.write_bytes(part.read_bytes()[:-1])
    newest = {"selection": "newest"}
    second = road.run("14-rejection-w2", MORE, newest, bags=[first.folder], version="v2")
    assert targets(second) == targets(alone)
    assert results(second)["bag"].keys() == {"v2"}


def test_earlier_targets_make_up_at_most_their_share(road: Road, tuned: Tuned) -> None:
    first = road.run("07-rejection-v1", PROMPTS, {})
    second = road.run("14-rejection-v2", MORE, {"bag_share": 0.25}, bags=[first.folder])
    taken = [key for key in targets(second) if key not in {p.messages for p in MORE}]
    own = results(second)["bag"]["v2"]["chosen"]
    assert len(taken) == round(own / 3) == results(second)["bag"]["v1"]["chosen"]


def test_all_versions_are_remembered(road: Road, tuned: Tuned) -> None:
    spaces: list[Workspace] = []
    for number, prompts in enumerate((PROMPTS[:4], PROMPTS[4:8], MORE), 1):
        bags = [space.folder for space in spaces]
        spaces.append(road.run(f"{number:02d}-rejection-v{number}", prompts, {}, bags=bags))
    found = results(spaces[-1])
    assert {name: each["prompts"] for name, each in found["bag"].items()} == {
        "v3": 6, "v1": 4, "v2": 4,
    }  # fmt: skip
    assert sum(each["chosen"] for each in found["bag"].values()) == found["targets"]
    assert found["bag"]["v1"]["chosen"] >= 3
    origins = {row.origin for space in spaces for row in samples_in(space.folder)}
    assert {origin.version for origin in origins} == {"v1", "v2", "v3"}
    # The policy of a bag is known by the hash that a run's manifest has of it.
    [policy] = {origin.policy for origin in origins}
    assert policy == bag.hashlib.sha256((road.chat / "model.safetensors").read_bytes()).hexdigest()


def test_a_bag_of_another_base_is_refused_before_anything(
    road: Road, tuned: Tuned, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    first = road.run("07-rejection-v1", PROMPTS, {})
    other = tmp_path / "other-base"
    save_language_model(LanguageModel.fresh(CONFIG, 77), other, tokenizer.special)
    tokenizer.save(other, model_max_length=64)
    with pytest.raises(UserError, match="07-rejection-v1: its bag belongs to another base model"):
        road.run("14-rejection-v2", MORE, {}, bags=[first.folder], base=other)
    [part] = parts_of(first.folder)
    rows = [replace(row, origin=replace(row.origin, tokenizer="f" * 64)) for row in read_part(part)]
    part.unlink()
    write_part(first.folder, 0, rows)
    with pytest.raises(UserError, match="another tokenizer"):
        road.run("14-rejection-v2", MORE, {}, bags=[first.folder])
    with pytest.raises(UserError, match="no bag of samples in it"):
        road.run("14-rejection-v2", MORE, {}, bags=[tmp_path])
    assert list((tmp_path / "14-rejection-v2").iterdir()) == []


def test_a_damaged_bag_of_an_earlier_version_is_refused_before_anything(
    road: Road, tuned: Tuned, tmp_path: Path
) -> None:
    first = road.run("07-rejection-v1", PROMPTS, {})
    [part] = parts_of(first.folder)
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)
    with pytest.raises(UserError, match=rf"{part.name}: damaged .*--from 07-rejection-v1"):
        road.run("14-rejection-v2", MORE, {}, bags=[first.folder])
    assert list((tmp_path / "14-rejection-v2").iterdir()) == []


def test_a_damaged_part_of_its_own_is_drawn_again(
    road: Road, tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same samples: their random numbers follow from the seed and the prompt's place."""
    monkeypatch.setattr(rejection_samples, "_PROMPTS_A_PART", 5)
    space = road.run("07-rejection-v1", PROMPTS, {})
    before = {part.name: part.read_bytes() for part in parts_of(space.folder)}
    damaged = part_of(space.folder, 1)
    assert damaged is not None
    damaged.write_bytes(b"{}")
    road.run("07-rejection-v1", PROMPTS, {})
    assert {part.name: part.read_bytes() for part in parts_of(space.folder)} == before
    assert any(f"{damaged}: damaged; its prompts are sampled again" in said for said in road.said)


def with_nan(folder: Path, copy: Path, tokenizer: Tokenizer, word: str | None) -> Path:
    """A reward model that has no number for answers to prompts with a word, or for none at all."""
    model = load_score_model(folder)
    with torch.no_grad():
        if word is None:
            model.score.weight.fill_(torch.nan)
        else:
            [token] = set(tokenizer.encode(word)) - set(tokenizer.encode("8"))
            model.model.embed_tokens.weight[token] = torch.nan
    save_score_model(model, copy, tokenizer.special)
    tokenizer.save(copy, model_max_length=64)
    return copy


def test_scores_that_are_not_finite_are_named_and_never_chosen(
    road: Road, tuned: Tuned, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Also where the composite would follow the other model, whose score is finite."""
    digit = "7"
    bad = with_nan(road.rewards[1], tmp_path / "sick", tokenizer, digit)
    space = road.run("07-rejection-v1", PROMPTS, {}, rewards=(road.rewards[0], bad))
    sick = [row for row in samples_in(space.folder) if digit in row.prompt.messages[0].content]
    assert [row.prompt.id for row in sick] == ["p7"]
    assert sick[0].prompt.track == "helpfulness"
    assert all(map(torch.isfinite, torch.tensor(sick[0].helpfulness)))
    assert not any(map(torch.isfinite, torch.tensor([sick[0].safety, sick[0].scores]).flatten()))
    assert sick[0].prompt.messages not in targets(space)
    assert len(targets(space)) >= 6
    assert results(space)["not_finite"]["helpfulness"] == 0
    assert results(space)["not_finite"]["safety"] >= 4
    [said] = [line for line in road.said if "no finite score" in line]
    assert "the safety model gives" in said
    assert "p7" in said
    json.dumps(results(space), allow_nan=False)


def test_a_reward_model_without_one_finite_score_is_refused(
    road: Road, tuned: Tuned, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    bad = with_nan(road.rewards[0], tmp_path / "broken", tokenizer, None)
    for temperatures in ((1.0,), (0.7, 1.3)):
        with pytest.raises(UserError, match=r"the helpfulness model gives none of \d+ answ"):
            road.run(
                "07-rejection-v1", PROMPTS, {"temperatures": temperatures},
                rewards=(bad, road.rewards[1]),
            )  # fmt: skip
    assert not (tmp_path / "07-rejection-v1" / "samples").exists()


def test_prompts_without_room_are_skipped_counted_and_said(road: Road, tuned: Tuned) -> None:
    long = [Prompt(f"long{n}", (Message("user", " ".join(WORDS * 3)),)) for n in range(2)]
    space = road.run("07-rejection-v1", [PROMPTS[0], *long, *PROMPTS[1:]], {})
    assert results(space)["prompts_too_long"] == 2
    assert results(space)["prompts"] == 12
    assert any(
        "2 of 14 prompts leave no room for 8 tokens and are skipped, long0 first" in line
        for line in road.said
    )


def test_a_reward_model_with_another_tokenizer_is_refused(
    road: Road, tuned: Tuned, tmp_path: Path
) -> None:
    other = tmp_path / "other-rewards"
    model = ScoreModel.from_language_model(LanguageModel.fresh(CONFIG, 5), 5)
    texts = [f"[INST] {' '.join(sorted(WORDS))} {n} other words [/INST]" for n in range(100)]
    train_tokenizer(texts, tmp_path / "own", CONFIG.vocab_size)
    tokenizer = load_tokenizer(tmp_path / "own")
    save_score_model(model, other, tokenizer.special)
    tokenizer.save(other, model_max_length=64)
    with pytest.raises(UserError, match="other-rewards: its tokenizer is not the policy's"):
        road.run("07-rejection-v1", PROMPTS, {}, rewards=(road.rewards[0], other))
    assert list((tmp_path / "07-rejection-v1").iterdir()) == []


def test_ghost_dialogs_join_as_they_are(road: Road, tuned: Tuned, tmp_path: Path) -> None:
    dialog = Dialog(
        (
            Message("user", "salt only. road"), Message("assistant", "salt"),
            Message("user", "river"), Message("assistant", "salt"),
        ),
        "ghost",
    )  # fmt: skip
    write_dialogs(tmp_path / "ghost.jsonl", [dialog] * 3)
    without = road.run("06-rejection-v4", PROMPTS, {}, version="v4")
    before = list(tuned.dialogs)
    space = road.run("07-rejection-v4", PROMPTS, {}, ghost=[tmp_path / "ghost.jsonl"])
    assert tuned.dialogs == [*before, *[dialog] * 3]
    assert (results(without)["ghost_dialogs"], results(space)["ghost_dialogs"]) == (0, 3)


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A smaller base with a tokenizer of its own."""
    folder = tmp_path / "student"
    texts = [f"[INST] {' '.join(WORDS)} {n} [/INST]" for n in range(50)]
    train_tokenizer(texts, folder / "own", 300)
    tokenizer = load_tokenizer(folder / "own")
    shape = CONFIG.model_dump() | {"vocab_size": 300, "dim": 8, "ffn_dim": 16}
    save_language_model(
        LanguageModel.fresh(ModelConfig.model_validate(shape), 3), folder, tokenizer.special
    )
    tokenizer.save(folder, model_max_length=64)
    shutil.rmtree(folder / "own")
    return folder


def test_a_smaller_model_learns_from_the_samples_of_a_larger_one(
    road: Road, student: Path, tmp_path: Path
) -> None:
    """Text alone crosses over: neither its policy nor its reward models are looked for."""
    larger = road.run("larger/07-rejection-v1", PROMPTS, {})
    nowhere = tmp_path / "nowhere"
    before = sorted(path.name for path in larger.folder.rglob("*"))
    space = road.run(
        "07-rejection-v1", [], {"samples_from": str(larger.folder)},
        base=student, policy=nowhere, rewards=(nowhere, nowhere),
    )  # fmt: skip
    assert targets(space) == targets(larger)
    assert parts_of(space.folder) == []
    assert not same_weights(space.model, student)
    assert load_tokenizer(space.model).fingerprint == load_tokenizer(student).fingerprint
    ours, theirs = results(space), results(larger)
    same = ("prompts", "samples_per_prompt", "targets", "temperature", "bag")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    for n, (one, other) in enumerate(zip(ours["by_n"], theirs["by_n"], strict=True), 1):
        assert one == pytest.approx(other), n  # summed in another order
    assert sorted(path.name for path in larger.folder.rglob("*")) == before


def test_of_a_larger_run_the_newest_version_of_a_prompt_counts(road: Road, tuned: Tuned) -> None:
    """Scores of two versions do not compare: the old ones are made huge, and lose all the same."""
    run = road.place / "larger"
    first = road.run("larger/07-rejection-v1", PROMPTS, {})
    [part] = parts_of(first.folder)
    rows = [replace(row, scores=(1e6,) * 4, answers=("bread",) * 4) for row in read_part(part)]
    part.unlink()
    write_part(first.folder, 0, rows)
    second = road.run("larger/14-rejection-v2", [*PROMPTS[:6], *MORE], {"selection": "newest"})
    given = {"samples_from": str(run)}
    space = road.run("07-rejection-v1", [], given)
    assert targets(space).items() >= targets(second).items()
    others = [d for key, d in targets(space).items() if key not in targets(second)]
    assert {dialog.answer for dialog in others} == {"bread"}
    assert len(others) >= 6
    newest = road.run("08-rejection-v1", [], given | {"selection": "newest"})
    assert targets(newest) == targets(second)
    few = road.run("09-rejection-v1", [], given | {"selection": "newest", "max_prompts": 3})
    assert results(few)["prompts"] == 3


def test_a_folder_without_samples_to_learn_from(road: Road, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no bag of samples in it"):
        road.run("07-rejection-v1", [], {"samples_from": str(tmp_path)})
