"""Ghost Attention's dialogs: lists by the model itself, what is sampled, and what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from arriero.alignment.ghost import on_every_turn
from arriero.data.dialogs import read_dialogs
from arriero.data.writing import write_dialogs, write_prompts
from arriero.inference.generate import Sampling, generate
from arriero.model.weights import load_language_model
from arriero.records import Dialog, Message, Prompt, Stopped, UserError
from arriero.stages import ghost
from arriero.stages.ghost import GhostConfig, KindConfig
from arriero.stages.sampling import Answer, ChatModel
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer, encode_dialogs, encode_prompt

from .conftest import WORDS, NewWorkspace, results

SMALL = GhostConfig(
    kinds={
        "hobby": KindConfig(ask="salt", say="wool {}.", short="W: {}."),
        "figure": KindConfig(ask="river", say="road {}.", short="R: {}."),
    },
    list_samples=64,
    least_named=1,
    max_new_tokens=8,
)


def prompt(number: int, turns: int) -> Prompt:
    messages: list[Message] = []
    for turn in range(turns):
        messages.append(Message("user", f"{WORDS[(number + turn) % 14]}?"))
        messages.append(Message("assistant", WORDS[(number + 3 * turn) % 14]))
    return Prompt(f"p{number}", tuple(messages[:-1]))


PROMPTS = [prompt(number, 1 + number % 2) for number in range(10)]


@pytest.fixture(scope="module")
def wide_folder(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chat model with room for several turns."""
    folder = tmp_path_factory.mktemp("wide") / "chat"
    shutil.copytree(chat_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 192}))
    return folder


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_prompts(path, PROMPTS)
    return path


def run(prompts: Path, chat: Path, space: Workspace, **changes: Any) -> dict[str, Any]:
    config = SMALL.model_copy(update=changes)
    ghost.run(config, policy=chat, prompts=[prompts], workspace=space)
    return results(space)


def dialogs_in(space: Workspace, name: str) -> list[Dialog]:
    return list(read_dialogs([space.folder / f"{name}.jsonl"]))


def test_dialogs_hold_answers_sampled_with_the_instruction_on_every_turn(
    prompts: Path, wide_folder: Path, tokenizer: Tokenizer, workspace: NewWorkspace
) -> None:
    """Greedy answers, each computed anew from the prompt that the paper samples from."""
    space = workspace()
    found = run(prompts, wide_folder, space, temperature=0.0)
    model = load_language_model(wide_folder).eval()
    learned = dialogs_in(space, "dialogs")
    controls = dialogs_in(space, "control")
    assert len(learned) == len(controls) == found["dialogs"] > 5
    by_last: dict[tuple[Message, ...], tuple[Message, ...]] = {
        p.messages[1:]: p.messages for p in PROMPTS if len(p.messages) > 1
    }
    num_longer = 0
    for dialog, control in zip(learned, controls, strict=True):
        assert dialog.last_answer_only
        assert not control.last_answer_only
        assert dialog.answer == control.answer
        ids = encode_prompt(tokenizer, control.prompt)
        ((one,),) = generate(
            model, [ids], Sampling(temperature=0.0, max_new_tokens=8), seed=0,
            ends=tokenizer.special.ends,
        )  # fmt: skip
        assert tokenizer.decode(one.tokens).strip() == dialog.answer
        assert dialog.is_cut == (not one.ended)
        plain = by_last.get(dialog.prompt[1:])
        if plain is not None:
            num_longer += 1
            said = dialog.prompt[0].content
            instruction = said.removesuffix(f" {plain[0].content}")
            assert instruction != said
            assert control.prompt == on_every_turn(plain, instruction)
            assert dialog.prompt[1:] == plain[1:]
    assert num_longer == sum(len(d.prompt) > 1 for d in learned) > 0


def test_instructions_hold_values_that_the_model_named(
    prompts: Path, wide_folder: Path, workspace: NewWorkspace
) -> None:
    space = workspace()
    found = run(prompts, wide_folder, space)
    lists = json.loads((space.folder / "lists.json").read_text())
    assert found["lists"] == lists
    assert lists.keys() == {"hobby", "figure"}
    for dialog in dialogs_in(space, "dialogs"):
        said = dialog.messages[0].content
        leads = {"hobby": ("wool ", "W: "), "figure": ("road ", "R: ")}
        assert any(
            f"{lead}{value}." in said
            for kind, values in lists.items()
            for value in values
            for lead in leads[kind]
        )


def test_only_the_last_answer_is_learned(
    prompts: Path, wide_folder: Path, tokenizer: Tokenizer, workspace: NewWorkspace
) -> None:
    space = workspace()
    run(prompts, wide_folder, space)
    dialogs = dialogs_in(space, "dialogs")
    for dialog, item in zip(dialogs, encode_dialogs(tokenizer, dialogs), strict=True):
        asked = len(encode_prompt(tokenizer, dialog.prompt))
        assert not any(item.loss_mask[:asked])
        assert all(item.loss_mask[asked:])


def test_dialogs_of_ones_own_are_rewritten(
    tmp_path: Path, wide_folder: Path, workspace: NewWorkspace
) -> None:
    """Demonstrations in any format: their last answers are not read."""
    own = tmp_path / "own.jsonl"
    write_dialogs(
        own,
        [
            Dialog((*PROMPTS[1].messages, Message("assistant", "thanks"))),
            Dialog((Message("user", "salt?"), Message("assistant", "thanks"))),
        ],
    )
    space = workspace()
    found = run(own, wide_folder, space)
    assert found["dialogs"] + found["empty_answers"] == 2


def test_dialogs_without_room_are_counted(
    tmp_path: Path, wide_folder: Path, workspace: NewWorkspace
) -> None:
    path = tmp_path / "prompts.jsonl"
    write_prompts(path, [*PROMPTS, *(prompt(20 + number, 30) for number in range(3))])
    found = run(path, wide_folder, workspace())
    assert found["no_room"] == 3
    write_prompts(path, [prompt(20, 30)])
    with pytest.raises(UserError, match=r"none of 1 dialogs.*leaves room for 8 tokens"):
        run(path, wide_folder, workspace("none"))


def test_a_model_that_names_nothing_is_refused(
    prompts: Path, wide_folder: Path, workspace: NewWorkspace
) -> None:
    with pytest.raises(UserError, match=r"the model names no figure.*kinds\.NAME\.ask"):
        run(prompts, wide_folder, workspace(), least_named=65)


def test_a_kind_that_the_model_names_nothing_of_is_left_out(
    prompts: Path, wide_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One forgotten question does not end a run; the other kinds carry the instructions."""
    names, lists = ghost.listed, list[list[str]]()

    def forgetful(answers: Iterable[str], *, least: int) -> list[str]:
        lists.append(names(answers, least=least) if lists else [])
        return lists[-1]

    monkeypatch.setattr(ghost, "listed", forgetful)
    space = workspace()
    found = run(prompts, wide_folder, space)
    [missing] = found["kinds_without_values"]
    assert missing == sorted(SMALL.kinds)[0]
    assert set(found["lists"]) == set(SMALL.kinds) - {missing}
    say = SMALL.kinds[missing].say.split("{}")[0]
    texts = [one.messages[0].content for one in dialogs_in(space, "dialogs")]
    assert texts
    assert not any(text.startswith(say) for text in texts)


def test_a_wording_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="where the value goes"):
        KindConfig(ask="Name a hobby.", say="You enjoy it.", short="Hobby: {}.")


def test_most_prompts(prompts: Path, wide_folder: Path, workspace: NewWorkspace) -> None:
    found = run(prompts, wide_folder, workspace(), max_prompts=4)
    assert found["dialogs"] + found["empty_answers"] == 4


def test_asked_to_stop_it_goes_on_with_the_same_bytes(
    prompts: Path, wide_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while the second part is sampled; lists and the first part are not made again."""
    monkeypatch.setattr(ghost, "_PROMPTS_A_PART", 4)
    whole, stopped = workspace("whole"), workspace("stopped")
    run(prompts, wide_folder, whole)
    plain, calls = ChatModel.answers, [0]

    def ask(self: ChatModel, *arguments: Any, **named: Any) -> list[list[Answer]]:
        calls[0] += 1
        if calls[0] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, *arguments, **named)

    monkeypatch.setattr(ChatModel, "answers", ask)
    with pytest.raises(Stopped) as raised:
        run(prompts, wide_folder, stopped)
    assert raised.value.signal == signal.SIGTERM
    assert [path.name for path in (stopped.folder / "samples").iterdir()] == ["part-00000.jsonl"]
    assert not (stopped.folder / "dialogs.jsonl").exists()
    run(prompts, wide_folder, stopped)
    assert calls == [5]  # lists, two parts, of which one was given up, and two parts more
    for name in ("lists.json", "dialogs.jsonl", "control.jsonl", "results.json"):
        assert (stopped.folder / name).read_bytes() == (whole.folder / name).read_bytes()


JOB = """
import sys
from pathlib import Path

import torch

from arriero.stages import ghost
from arriero.stages.ghost import GhostConfig
from arriero.stages.workspace import Workspace

config, policy, prompts, folder = sys.argv[1:]
ghost._PROMPTS_A_PART = 2
space = Workspace(Path(folder), 0, torch.device("cpu"), print)
ghost.run(
    GhostConfig.model_validate_json(config),
    policy=Path(policy),
    prompts=[Path(prompts)],
    workspace=space,
)
"""


def start(prompts: Path, policy: Path, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    given = (SMALL.model_dump_json(), str(policy), str(prompts), str(folder))
    return subprocess.Popen([sys.executable, "-c", JOB, *given], stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_between_any_two_parts_it_goes_on_with_the_same_bytes(
    prompts: Path, wide_folder: Path, tmp_path: Path
) -> None:
    """kill -9 of a real process, once its lists and then once each of its parts are there."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(prompts, wide_folder, whole).wait(60) == 0
    parts = [f"samples/part-{number:05d}.jsonl" for number in range(5)]
    for sign in ("lists.json", *parts):
        process = start(prompts, wide_folder, killed)
        deadline = time.monotonic() + 60
        while not (killed / sign).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(prompts, wide_folder, killed).wait(60) == 0
    for name in ("lists.json", "dialogs.jsonl", "control.jsonl", "results.json", *parts):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_the_seed_decides(prompts: Path, wide_folder: Path, workspace: NewWorkspace) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(prompts, wide_folder, workspace(name, seed))
    first, second, third = (
        (workspace(name).folder / "dialogs.jsonl").read_bytes() for name in "abc"
    )
    assert first == second != third
