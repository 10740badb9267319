"""PPO and rejection sampling whose answers come from a server: as from our own engine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from arriero.alignment.bag import part_of, read_part
from arriero.data.writing import write_dialogs, write_prompts
from arriero.inference.generate import Sampling
from arriero.model.heads import LanguageModel
from arriero.model.lora import LoraConfig
from arriero.model.weights import load_language_model, save_language_model
from arriero.records import Dialog, Message, Prompt, Stopped, UserError
from arriero.stages import rejection
from arriero.stages.ppo import PpoConfig
from arriero.stages.rejection import RejectionConfig
from arriero.stages.sampling import ChatModel
from arriero.stages.served import Served
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer
from arriero.training.optimizer import OptimizerConfig
from tests.inference.vllm_server import StandIn, nobody, standing_in

from .conftest import CONFIG, WORDS, NewWorkspace, learned, metrics, results
from .test_ppo import Stage
from .test_rejection import SMALL as REJECTION

SELDOM: dict[str, Any] = {"held_out_every": 100, "checkpoint_every": 1}


@pytest.fixture
def stage(tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]) -> Stage:
    return Stage(tmp_path, chat_folder, reward_folders)


@pytest.fixture
def server(chat_folder: Path) -> Iterator[StandIn]:
    with standing_in(chat_folder) as stand_in:
        yield stand_in


def without_gap(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "sampler_gap"} for line in lines]


@pytest.mark.parametrize("changes", [{}, {"lora": LoraConfig(rank=4)}], ids=["all", "adapters"])
def test_ppo_learns_the_same_as_from_our_own_engine(
    stage: Stage, workspace: NewWorkspace, server: StandIn, changes: dict[str, Any]
) -> None:
    own, space = workspace("own"), workspace("served")
    stage.run(own, **changes)
    stage.run(space, sampler_url=server.url, **changes)
    for line, other in zip(learned(space), learned(own), strict=True):
        assert line["sampler_gap"] < 1e-5
        assert line.keys() == other.keys()
        for name, value in line.items():
            assert value == pytest.approx(other[name], rel=1e-3, abs=1e-4), name
    assert learned(space)[-1]["kl"] != 0.0
    assert results(space)["alarms"] == {}
    # At the start, in each of three iterations, and for the check after each.
    assert server.loads == [space.folder / "sampler"] * 7
    assert server.resets == 7
    assert not (space.folder / "sampler").exists()
    kept = load_language_model(own.model).state_dict()
    for name, weight in load_language_model(space.model).state_dict().items():
        torch.testing.assert_close(weight, kept[name], atol=1e-4, rtol=1e-3)


def test_a_server_that_keeps_its_weights_raises_the_alarm(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    server.keeps_weights = True
    space = workspace()
    slow = OptimizerConfig(peak=5e-4, warmup_steps=0, final_share=1.0)
    stage.run(space, **SELDOM, iterations=6, optimizer=slow, sampler_url=server.url)
    found = results(space)["alarms"]["sampler"]
    assert found["first"] > 1
    assert "0.03" in found["said"]
    gaps = [line["sampler_gap"] for line in metrics(space)]
    assert gaps[0] < 1e-5
    assert max(gaps) > 0.03


def test_a_server_that_keeps_its_weights_far_too_long_ends_the_stage(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    server.keeps_weights = True
    space = workspace()
    with pytest.raises(UserError, match="answers from other weights"):
        stage.run(space, **SELDOM, iterations=8, sampler_url=server.url)
    done = len(metrics(space))
    assert [path.name for path in space.checkpoints.iterdir()][-1] == f"step-{done:08d}"


def test_nothing_is_learned_from_answers_of_another_model(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    server.keeps_weights = True
    server.model = LanguageModel.fresh(CONFIG, seed=9).eval()
    space = workspace()
    with pytest.raises(UserError, match="answers from other weights") as raised:
        stage.run(space, **SELDOM, iterations=2, sampler_url=server.url)
    assert server.url in str(raised.value)
    assert not space.metrics.exists() or not metrics(space)


def test_a_server_that_goes_away_ends_the_stage_and_another_goes_on(
    stage: Stage, workspace: NewWorkspace, chat_folder: Path
) -> None:
    space, own = workspace("space"), workspace("own")
    stage.run(own, **SELDOM)
    with standing_in(chat_folder) as server:

        def gone() -> None:
            if len(server.loads) == 3:
                server.replies["/v1/completions"] = (200, b"")

        server.on_completion = gone
        with pytest.raises(UserError, match="no completion"):
            stage.run(space, **SELDOM, sampler_url=server.url)
    assert [path.name for path in space.checkpoints.iterdir()] == ["step-00000001"]
    assert not (space.folder / "sampler").exists()
    with standing_in(chat_folder) as server:
        stage.run(space, **SELDOM, sampler_url=server.url)
    for line, other in zip(without_gap(learned(space)), without_gap(learned(own)), strict=True):
        assert line["reward"] == pytest.approx(other["reward"], abs=1e-4)


def test_asked_to_stop_while_the_server_samples_it_saves_and_leaves(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    def ask() -> None:
        if len(server.loads) == 3 and server.seconds == 0:
            server.seconds = 60.0
            os.kill(os.getpid(), signal.SIGTERM)

    server.on_completion = ask
    space, begin = workspace(), time.monotonic()
    with pytest.raises(Stopped) as raised:
        stage.run(space, **SELDOM, sampler_url=server.url)
    assert raised.value.signal == signal.SIGTERM
    assert time.monotonic() - begin < 30
    assert [path.name for path in space.checkpoints.iterdir()] == ["step-00000001"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Prompts and demonstrations."""
    prompts, instructions = tmp_path / "asked.jsonl", tmp_path / "instructions.jsonl"
    write_prompts(
        prompts, [Prompt(f"p{n}", (Message("user", f"{WORDS[n]} {n}"),)) for n in range(12)]
    )
    write_dialogs(
        instructions, [Dialog((Message("user", f"show {n}"),)).answered("thanks") for n in range(9)]
    )
    return prompts, instructions


def reject(stage: Stage, files: tuple[Path, Path], space: Workspace, url: str = "") -> list[Any]:
    """Run rejection sampling; returns its samples."""
    rejection.run(
        REJECTION.model_copy(update={"sampler_url": url}),
        base=stage.chat,
        policy=stage.chat,
        rewards=stage.rewards,
        prompts=[files[0]],
        instructions=[files[1]],
        workspace=space,
    )
    part = part_of(space.folder, 0)
    assert part is not None
    return read_part(part)


def test_rejection_sampling_draws_the_same_as_from_our_own_engine(
    stage: Stage,
    files: tuple[Path, Path],
    workspace: NewWorkspace,
    server: StandIn,
    chat_folder: Path,
) -> None:
    server.model = LanguageModel.fresh(CONFIG, seed=9).eval()  # it is told to load the policy
    own = reject(stage, files, workspace("own"))
    found = reject(stage, files, workspace("served"), server.url)
    assert server.loads == [chat_folder]
    for row, other in zip(found, own, strict=True):
        assert (row.prompt, row.answers, row.ended) == (other.prompt, other.answers, other.ended)
        assert row.scores == pytest.approx(other.scores, abs=1e-4)


def test_rejection_sampling_refuses_a_server_that_answers_as_another_model(
    stage: Stage, files: tuple[Path, Path], workspace: NewWorkspace, server: StandIn
) -> None:
    server.model, server.keeps_weights = LanguageModel.fresh(CONFIG, seed=9).eval(), True
    with pytest.raises(UserError, match="answers from other weights"):
        reject(stage, files, workspace(), server.url)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"ffn_dim": 48}, "whose ffn_dim is 48, and not 32"), ({"rope_theta": 5e5}, "rope_theta")],
)
def test_a_model_of_another_shape_is_refused_before_its_weights_are_touched(
    stage: Stage,
    workspace: NewWorkspace,
    tmp_path: Path,
    tokenizer: Tokenizer,
    change: dict[str, Any],
    message: str,
) -> None:
    model = LanguageModel.fresh(CONFIG.model_copy(update=change), seed=0)
    save_language_model(model, tmp_path / "other", tokenizer.special)
    with standing_in(tmp_path / "other") as server:
        with pytest.raises(UserError, match=message):
            stage.run(workspace(), sampler_url=server.url)
        assert not server.loads


def test_a_model_whose_folder_is_not_here_is_refused(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    server.folder = Path("someone/llama")
    with pytest.raises(UserError, match="start vllm serve with the full path of a folder"):
        stage.run(workspace(), sampler_url=server.url)
    assert not server.loads


def test_no_server(stage: Stage, workspace: NewWorkspace) -> None:
    with pytest.raises(UserError, match="is vLLM still running there"):
        stage.run(workspace(), sampler_url=nobody())


def test_weights_that_are_not_taken_leave_no_folder(
    stage: Stage, workspace: NewWorkspace, server: StandIn
) -> None:
    server.replies["/collective_rpc"] = (500, {"error": {"message": "no"}})
    space = workspace()
    with pytest.raises(UserError, match="start the server again"):
        stage.run(space, sampler_url=server.url)
    assert list(space.folder.iterdir()) == []


def test_a_token_of_another_vocabulary(
    stage: Stage, workspace: NewWorkspace, server: StandIn, chat_folder: Path
) -> None:
    def foreign(reply: dict[str, Any]) -> None:
        reply["choices"][0] |= {
            "token_ids": [CONFIG.vocab_size],
            "logprobs": {"token_logprobs": [-1.0]},
            "finish_reason": "length",
        }

    chat = ChatModel.load(chat_folder, torch.device("cpu"))
    served = Served.now(chat, server.url, workspace())
    server.change = foreign
    with pytest.raises(UserError, match="another vocabulary"):
        served.answers(
            [Prompt("1", (Message("user", "salt"),))], Sampling(max_new_tokens=1), seed=0
        )


@pytest.mark.parametrize("config", [PpoConfig, RejectionConfig])
def test_an_address_of_another_machine_is_refused_with_the_recipe(config: Any) -> None:
    with pytest.raises(ValidationError, match="no address on this machine"):
        config(sampler_url="http://10.0.0.1:8000")


def test_the_precision_of_our_own_engine_is_none_of_the_servers() -> None:
    url = "http://127.0.0.1:8000"
    with pytest.raises(ValidationError, match="--dtype bfloat16"):
        PpoConfig(sampler_url=url, rollout_precision="bfloat16")
    assert PpoConfig(sampler_url=url).gap_precision == "bfloat16"
    assert PpoConfig().gap_precision == "float32"
    assert PpoConfig(rollout_precision="bfloat16").gap_precision == "bfloat16"
