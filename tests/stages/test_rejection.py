"""Rejection sampling: the best sample is the target, the base model learns it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from arriero.alignment.bag import Samples, part_of, read_part, write_part
from arriero.alignment.scoring import CompositeScores, RewardModels
from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_dialogs, write_prompts
from arriero.records import Dialog, Message, Prompt, Stopped, UserError
from arriero.stages import rejection, rejection_samples
from arriero.stages.rejection import RejectionConfig
from arriero.stages.sft import SftConfig
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer
from arriero.tokenizer.chat import encode_dialogs

from .conftest import WORDS, NewWorkspace, results, same_weights

SMALL = RejectionConfig(
    samples_per_prompt=4,
    temperatures=(0.7, 1.3),
    fitting_prompts=4,
    max_new_tokens=8,
    sft_share=0.25,
    sft=SftConfig(epochs=1, rows_per_step=4, row_length=64, precision="float32"),
)
PROMPTS = [
    Prompt(
        f"p{n}", (Message("user", f"{WORDS[n]} {n}"),), "safety" if n % 3 == 0 else "helpfulness"
    )
    for n in range(12)
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Prompts and demonstrations."""
    prompts, instructions = tmp_path / "prompts.jsonl", tmp_path / "instructions.jsonl"
    write_prompts(prompts, PROMPTS)
    dialogs = [
        Dialog((Message("user", f"show {n}"), Message("assistant", "thanks"))) for n in range(30)
    ]
    write_dialogs(instructions, dialogs)
    return prompts, instructions


class Tuned:
    """In place of fine-tuning: notes what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base: Path | None = None
        self.dialogs: list[Dialog] = []
        monkeypatch.setattr(rejection, "fine_tune", self)

    def __call__(
        self,
        config: SftConfig,
        base: Path,
        dialogs: Sequence[Dialog],
        workspace: Workspace,
        *,
        corpus_shard: Path | None = None,
        num_steps: int | None = None,
    ) -> dict[str, Any]:
        self.base, self.dialogs = base, list(dialogs)
        return {"steps": num_steps or 7, "train_loss": 1.0, "valid_loss": 2.0}


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> Tuned:
    return Tuned(monkeypatch)


def run(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    space: Workspace,
    *,
    base: Path | None = None,
    **changes: Any,
) -> None:
    rejection.run(
        SMALL.model_copy(update=changes),
        base=base or chat_folder,
        policy=chat_folder,
        rewards=reward_folders,
        prompts=[files[0]],
        instructions=[files[1]],
        workspace=space,
    )


def sampled(space: Workspace) -> list[dict[str, Any]]:
    part = part_of(space.folder, 0)
    assert part is not None
    return [json.loads(line) for line in part.read_text().splitlines()]


def test_the_best_sample_is_the_target_and_the_base_learns_it(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
    tmp_path: Path,
) -> None:
    space, base = workspace(), tmp_path / "base"
    shutil.copytree(chat_folder, base)
    run(files, chat_folder, reward_folders, space, base=base)
    rows, by_id = sampled(space), {prompt.id: prompt for prompt in PROMPTS}
    assert {row["prompt_id"] for row in rows} == by_id.keys()
    assert not all(ended for row in rows for ended in row["ended"])
    best: dict[Any, str] = {}
    cut: dict[Any, bool] = {}
    for row in rows:
        whole = [n for n, ended in enumerate(row["ended"]) if ended]
        chosen = max(whole or range(4), key=lambda n: row["scores"][n])  # cut off only if all are
        best[by_id[row["prompt_id"]].messages] = row["answers"][chosen]
        cut[by_id[row["prompt_id"]].messages] = not whole
    targets = list(read_dialogs([space.folder / "targets.jsonl"]))
    assert {d.prompt: d.answer for d in targets} == {k: v for k, v in best.items() if v}
    # Demonstrations make up a quarter of what the base model, not the policy, is tuned on.
    assert tuned.base == base
    learned = [dialog for dialog in tuned.dialogs if dialog.prompt in cut]
    assert all(dialog.is_cut == cut[dialog.prompt] for dialog in learned)
    num_shown = sum(dialog.answer == "thanks" for dialog in tuned.dialogs)
    assert num_shown == round(len(targets) / 3)
    assert len(tuned.dialogs) == num_shown + len(targets)
    found = results(space)
    scores = [score for row in rows for score in row["scores"]]
    assert found["reward_mean_of_samples"] == pytest.approx(sum(scores) / len(scores), rel=1e-5)
    maxima = [max(row["scores"]) for row in rows]
    assert found["reward_mean_of_best"] == pytest.approx(sum(maxima) / 12, rel=1e-5)
    assert found["by_n"][-1]["max"] == pytest.approx(sum(maxima) / 12, rel=1e-5)
    assert found["by_n"][0]["max"] == pytest.approx(found["by_n"][0]["median"])
    curve = [point["max"] for point in found["by_n"]]
    assert curve == sorted(curve)
    assert len(curve) == 4


def test_the_temperature_with_the_best_samples_is_taken(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
) -> None:
    space = workspace()
    run(files, chat_folder, reward_folders, space)
    found = results(space)
    curves = {item["temperature"]: item["max_mean"] for item in found["temperatures"]}
    assert curves.keys() == {0.7, 1.3}
    assert found["temperature"] == max(curves, key=lambda t: curves[t])
    one = workspace("one")
    run(files, chat_folder, reward_folders, one, temperatures=(0.9,))
    assert (results(one)["temperature"], results(one)["temperatures"]) == (0.9, [])


def test_the_reward_models_score_the_sampled_tokens(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Safety prompts are tagged as such, each as often as it has samples."""
    seen: list[int] = []
    plain = RewardModels.score

    def watched(
        self: RewardModels, ids: Sequence[list[int]], tagged: torch.Tensor, *rest: Any
    ) -> CompositeScores:
        assert len(ids) == len(tagged)
        seen.append(int(tagged.sum()))
        return plain(self, ids, tagged, *rest)

    monkeypatch.setattr(RewardModels, "score", watched)
    run(files, chat_folder, reward_folders, workspace(), temperatures=(1.0,))
    assert seen == [4 * 4]  # four prompts of twelve, four samples each


def test_samples_on_disk_are_not_drawn_again(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
) -> None:
    space = workspace()
    run(files, chat_folder, reward_folders, space)
    part = part_of(space.folder, 0)
    assert part is not None
    rows = [
        replace(
            row,
            answers=(*row.answers[:3], "please"),
            scores=(*row.scores[:3], 1000.0),
            ended=(*row.ended[:3], True),
        )
        for row in read_part(part)
    ]
    part.unlink()
    write_part(space.folder, 0, rows)
    run(files, chat_folder, reward_folders, space)
    targets = read_dialogs([space.folder / "targets.jsonl"])
    assert {dialog.answer for dialog in targets} == {"please"}


def test_a_temperature_that_was_found_is_not_looked_for_again(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
) -> None:
    """Samples of two temperatures would lie in one set, were it another one the second time."""
    space = workspace()
    run(files, chat_folder, reward_folders, space)
    found, path = results(space), space.folder / "samples" / "temperature.json"
    kept = json.loads(path.read_text())
    assert kept == {"temperature": found["temperature"], "curves": found["temperatures"]}
    path.write_text(json.dumps(kept | {"temperature": 1.6}))
    run(files, chat_folder, reward_folders, space)
    again = results(space)
    assert (again["temperature"], again["temperatures"]) == (1.6, found["temperatures"])
    # And samples of another temperature than the bag's are drawn anew.
    assert {row["temperature"] for row in sampled(space)} == {1.6}
    assert again["by_n"] != found["by_n"]


def test_asked_to_stop_the_parts_that_are_done_stay(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM while the second of three parts is sampled."""
    monkeypatch.setattr(rejection_samples, "_PROMPTS_A_PART", 4)
    whole, stopped = workspace("whole"), workspace("stopped")
    run(files, chat_folder, reward_folders, whole, temperatures=(1.0,))
    plain, calls = RewardModels.score, [0]

    def ask(*arguments: Any) -> CompositeScores:
        calls[0] += 1
        if calls[0] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments)

    monkeypatch.setattr(RewardModels, "score", ask)
    with pytest.raises(Stopped) as raised:
        run(files, chat_folder, reward_folders, stopped, temperatures=(1.0,))
    assert raised.value.signal == signal.SIGTERM
    parts = stopped.folder / "samples"
    assert [path.name[:10] for path in parts.iterdir()] == ["part-00000"]
    run(files, chat_folder, reward_folders, stopped, temperatures=(1.0,))
    assert calls == [3]  # two parts more
    targets = [(space.folder / "targets.jsonl").read_text() for space in (whole, stopped)]
    assert targets[0] == targets[1]


def test_most_prompts(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    tuned: Tuned,
) -> None:
    space = workspace()
    run(files, chat_folder, reward_folders, space, max_prompts=5)
    assert results(space)["prompts"] == 5


def test_nothing_to_learn_from(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = rejection_samples._rows

    def silent(*arguments: Any) -> list[Samples]:
        return [replace(row, answers=("",) * 4) for row in plain(*arguments)]

    monkeypatch.setattr(rejection_samples, "_rows", silent)
    with pytest.raises(UserError, match="every sampled answer is empty"):
        run(files, chat_folder, reward_folders, workspace())


def test_an_answer_cut_off_is_learned_without_an_end(tokenizer: Tokenizer) -> None:
    whole = Dialog((Message("user", "salt"),)).answered("river road")
    cut = Dialog((Message("user", "salt"),)).answered("river road", is_cut=True)
    first, second = encode_dialogs(tokenizer, [whole, cut])
    assert first.ids[-1] == tokenizer.eos_id
    assert tokenizer.eos_id not in second.ids
    assert first.ids[: len(second.ids)] == second.ids
    assert tokenizer.decode(second.ids[1:]).endswith("river road")
    assert len(second.ids) == len(second.loss_mask)
    assert second.loss_mask[-1]


def test_a_whole_stage_leaves_a_new_model(
    files: tuple[Path, Path],
    chat_folder: Path,
    reward_folders: tuple[Path, Path],
    workspace: NewWorkspace,
) -> None:
    space = workspace()
    run(files, chat_folder, reward_folders, space)
    assert not same_weights(space.model, chat_folder)
