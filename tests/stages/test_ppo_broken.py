"""PPO broken on purpose, in each way that has an alarm: real runs, real reward models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arriero.data.writing import write_prompts
from arriero.inference.generate import Sampling
from arriero.model.heads import ScoreModel
from arriero.model.lora import LoraConfig
from arriero.model.weights import load_score_model, save_score_model
from arriero.records import Message, Prompt, UserError
from arriero.stages import ppo, ppo_held_out, ppo_iteration
from arriero.stages.ppo import PpoConfig
from arriero.stages.sampling import ChatModel
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from arriero.tokenizer.chat import encode_prompt
from arriero.training.optimizer import OptimizerConfig

from .conftest import CONFIG, VOCAB, WORDS, NewWorkspace, metrics, results
from .test_ppo import Stage

FAST: dict[str, Any] = {
    "beta": 0.0,
    "samples": 24,
    "mini_batch": 8,
    "held_out_every": 100,
    "max_new_tokens": 24,
    "optimizer": OptimizerConfig(peak=5e-3, warmup_steps=0, final_share=1.0),
}


@pytest.fixture
def stage(tmp_path: Path, chat_folder: Path, reward_folders: tuple[Path, Path]) -> Stage:
    return Stage(tmp_path, chat_folder, reward_folders)


def alarms(space: Workspace) -> Mapping[str, Any]:
    """What was raised, which the metrics name too."""
    found = results(space)["alarms"]
    named = Counter(name for line in metrics(space) for name in line.get("alarms", []))
    assert named == {name: alarm["iterations"] for name, alarm in found.items()}
    return found


def heard(space: Workspace, said: list[str]) -> Workspace:
    """The same workspace, with what it says kept."""
    return Workspace(space.folder, space.seed, space.device, said.append)


def test_a_healthy_run_has_no_alarm(stage: Stage, workspace: NewWorkspace) -> None:
    space = workspace()
    stage.run(space)
    assert alarms(space) == {}
    for line in metrics(space):
        assert line["ratio_gap"] < 1e-5
        assert line["sampler_gap"] < 1e-4
        assert line["kl_k3"] >= 0.0
        assert line["kl"] >= -3 * line["kl_error"]
        parts = [line[f"{part}_s"] for part in ("generation", "scoring", "forward", "update")]
        assert min(parts) > 0
        assert line["generation_share"] == pytest.approx(parts[0] / sum(parts))


def test_dropout_in_the_trainer(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy that learns is not the one that its log-probabilities were taken of."""
    plain = ppo.full_learner

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return F.dropout(output, 0.1)

    def with_dropout(*arguments: Any) -> Any:
        learner = plain(*arguments)
        learner.policy.model.model.norm.register_forward_hook(drop)
        return learner

    monkeypatch.setattr(ppo, "full_learner", with_dropout)
    said: list[str] = []
    space = heard(workspace(), said)
    stage.run(space, iterations=2)
    found = alarms(space)
    assert found["ratio"]["iterations"] == 2
    assert metrics(space)[0]["ratio_gap"] > 1e-3
    assert sum("ALARM (ratio): a ratio of the first mini-batch" in line for line in said) == 1


def test_another_temperature_than_the_trainers(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ppo_iteration.sampled

    def colder(config: PpoConfig, *rest: Any) -> Any:
        return plain(config.model_copy(update={"temperature": 0.7}), *rest)

    monkeypatch.setattr(ppo_iteration, "sampled", colder)
    space = workspace()
    stage.run(space, iterations=1)
    assert alarms(space).keys() == {"sampler"}


def test_a_sampler_that_keeps_the_weights_of_the_start(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KL(pi || pi_0) on samples of pi_0 is -KL(pi_0 || pi)."""
    plain = ppo_iteration.sampled
    stale = ChatModel.load(stage.chat, torch.device("cpu"))

    def from_the_start(config: PpoConfig, policy: ChatModel, *rest: Any) -> Any:
        return plain(config, stale, *rest)

    monkeypatch.setattr(ppo_iteration, "sampled", from_the_start)
    space = workspace()
    stage.run(space, **FAST, iterations=8)
    found = alarms(space)
    assert found["sampler"]["first"] == 2
    assert found["sampler"]["iterations"] == 7
    assert found["kl"]["iterations"] >= 3
    assert all(line["kl_k3"] >= 0 for line in metrics(space))


def test_a_critic_that_does_not_learn(stage: Stage, workspace: NewWorkspace) -> None:
    """Scores some units apart, as values of whitened rewards, and no step to mend them."""
    space = workspace()
    stage.run(space, iterations=10, critic_peak=1e-12, held_out_every=100)
    assert alarms(space).keys() == {"critic"}
    assert alarms(space)["critic"]["first"] == 10


def blank() -> ScoreModel:
    """All weights 0, but the norms': blocks add nothing to what the embedding gives."""
    model = ScoreModel(CONFIG)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(float("norm" in name))
    return model


def of_last_token(tokenizer: Tokenizer, folder: Path, of_tokens: Tensor, weight: float) -> Path:
    """A reward model that reads the last token alone: `of_tokens` [V] times 4 times `weight`."""
    model = blank()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = of_tokens
        model.score.weight[0, 0] = weight
    return saved(model, tokenizer, folder)


def saved(model: ScoreModel, tokenizer: Tokenizer, folder: Path) -> Path:
    save_score_model(model, folder, tokenizer.special)
    tokenizer.save(folder, model_max_length=64)
    return folder


def endless(tokenizer: Tokenizer, folder: Path, weight: float = 1.0) -> Path:
    """Pays, or with a negative weight fines, an answer that does not end."""
    of_tokens = torch.ones(VOCAB)
    of_tokens[tokenizer.eos_id] = -1.0
    return of_last_token(tokenizer, folder, of_tokens, weight)


def test_a_reward_for_answers_that_do_not_end(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """They grow, and a general model that would have them end sees its score fall."""
    rewarding = endless(tokenizer, tmp_path / "endless")
    stage.rewards = (rewarding, rewarding)
    stage.general = endless(tokenizer, tmp_path / "general", -1.0)
    space = workspace()
    changes = {"iterations": 8, "held_out_every": 1, "patience": 8, "max_new_tokens": 40}
    stage.run(space, **FAST | changes)
    assert metrics(space)[0]["length"] < 20
    found = alarms(space)
    assert "length" in found
    assert "reward" in found
    assert "is being gamed" in found["reward"]["said"]
    of_run = results(space)
    assert of_run["general_best"] < of_run["general_start"]
    checks = metrics(space)
    assert checks[-1]["held_out"] > checks[0]["held_out"]
    assert checks[-1]["held_out_general"] < checks[0]["held_out_general"]


def test_the_general_model_changes_nothing_but_what_is_said(
    stage: Stage, workspace: NewWorkspace
) -> None:
    without, beside = workspace("without"), workspace("beside")
    stage.run(without, iterations=2)
    stage.general = stage.rewards[1]
    stage.run(beside, iterations=2)
    assert "general_start" not in results(without)
    of_both = [
        [{k: line[k] for k in ("kl", "reward", "held_out")} for line in metrics(space)]
        for space in (without, beside)
    ]
    assert of_both[0] == of_both[1]
    weights = [(s.model / "model.safetensors").read_bytes() for s in (without, beside)]
    assert weights[0] == weights[1]


def favourite(stage: Stage) -> int:
    """The token that the policy says most often, its end aside."""
    chat = ChatModel.load(stage.chat, torch.device("cpu"))
    prompts = [Prompt(str(n), (Message("user", word),)) for n, word in enumerate(WORDS)]
    answers = chat.answers(prompts, Sampling(max_new_tokens=24), seed=0, num_samples=8)
    counts = Counter(t for group in answers for answer in group for t in answer.completion.tokens)
    del counts[chat.tokenizer.eos_id]
    return counts.most_common(1)[0][0]


def parrot(tokenizer: Tokenizer, folder: Path, token: int) -> Path:
    """A reward model for the share of one token in all: its attention is the same for each."""
    model = blank()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0
        model.model.embed_tokens.weight[token] = torch.eye(CONFIG.dim)[1]
        block: Any = model.model.layers[0]
        block.self_attn.v_proj.weight[0, 1] = 1.0
        block.self_attn.o_proj.weight[2, 0] = 1.0
        model.score.weight[0, 2] = 1.0
    return saved(model, tokenizer, folder)


def test_a_reward_for_one_token_over_and_over(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    rewarding = parrot(tokenizer, tmp_path / "parrot", favourite(stage))
    stage.rewards = (rewarding, rewarding)
    space = workspace()
    stage.run(space, **FAST, iterations=20)
    assert "repetition" in alarms(space)


def not_a_number(tokenizer: Tokenizer, source: Path, folder: Path, token: int) -> Path:
    """A reward model with no score for whatever holds a token."""
    model = load_score_model(source)
    with torch.no_grad():
        model.model.embed_tokens.weight[token] = torch.nan
    return saved(model, tokenizer, folder)


def test_answers_without_a_score_are_named_and_left_out(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    sick = not_a_number(tokenizer, stage.rewards[1], tmp_path / "sick", tokenizer.encode("7")[-1])
    stage.rewards = (stage.rewards[0], sick)
    said: list[str] = []
    space = heard(workspace(), said)
    stage.run(space, iterations=1, samples=24)
    lines = [line for line in said if "is left out" in line]
    assert any("prompt 17 is left out: no finite score by the model of safety" in x for x in lines)
    assert any("prompt 7 " in line for line in lines)
    [line] = metrics(space)
    assert line["skipped"] == 0
    assert all(abs(line[k]) < 1e3 for k in ("reward", "score_safety", "policy_loss", "held_out"))


def test_no_score_at_all_is_refused(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    start = encode_prompt(tokenizer, [Message("user", "salt")])[0]  # of every prompt
    sick = not_a_number(tokenizer, stage.rewards[0], tmp_path / "sick", start)
    stage.rewards = (sick, stage.rewards[1])
    with pytest.raises(UserError, match="no answer to 6 held-out prompts has a finite score"):
        stage.run(workspace(), iterations=1)


def test_no_score_while_it_learns_is_refused(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    nine = tokenizer.encode("9")[-1]
    sick = not_a_number(tokenizer, stage.rewards[0], tmp_path / "sick", nine)
    stage.rewards = (sick, stage.rewards[1])
    write_prompts(stage.prompts, [Prompt(str(n), (Message("user", "salt 9"),)) for n in range(4)])
    with pytest.raises(UserError, match="of 4 answers 0 have finite scores by both reward models"):
        stage.run(workspace(), iterations=1)


def test_reward_models_with_another_tokenizer_are_refused(
    stage: Stage, workspace: NewWorkspace, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = saved(load_score_model(stage.rewards[0]), tokenizer, tmp_path / "other")
    train_tokenizer(["another tongue altogether " * 20] * 50, other, VOCAB - 10)
    assert load_tokenizer(other).fingerprint != tokenizer.fingerprint
    own = stage.rewards
    stage.general = other
    with pytest.raises(UserError, match="other: its tokenizer is not the policy's"):
        stage.run(workspace())
    stage.general, stage.rewards = None, (own[0], other)
    with pytest.raises(UserError, match="other: its tokenizer is not the policy's"):
        stage.run(workspace())


def test_prompts_that_leave_no_room_are_counted(stage: Stage, workspace: NewWorkspace) -> None:
    prompts = [Prompt(str(n), (Message("user", f"{WORDS[n]} {n}"),)) for n in range(8)]
    prompts.append(Prompt("long", (Message("user", " ".join(WORDS * 4)),)))
    write_prompts(stage.prompts, prompts)
    said: list[str] = []
    space = heard(workspace(), said)
    stage.run(space, iterations=1, samples=9)
    assert results(space)["prompts_too_long"] == 1
    assert "1 of 9 prompts are left out: they leave no room for 8 tokens" in said


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(rank=4, alpha=16.0)])
def test_rollouts_in_bfloat16(
    stage: Stage, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch, lora: LoraConfig
) -> None:
    """Sampler and trainer are farther apart then, and what is learned from stays float32."""
    used: list[torch.dtype] = []
    for module in (ppo_iteration, ppo_held_out):
        plain = module.sampled

        def watched(config: Any, policy: ChatModel, *rest: Any, plain: Any = plain) -> Any:
            used.append(policy.model.lm_head.weight.dtype)
            return plain(config, policy, *rest)

        monkeypatch.setattr(module, "sampled", watched)
    space = workspace()
    stage.run(space, iterations=2, rollout_precision="bfloat16", lora=lora)
    assert used == [torch.bfloat16] * 5
    assert alarms(space) == {}
    for line in metrics(space):
        assert 1e-5 < line["sampler_gap"] < 3e-2
        assert line["ratio_gap"] == 0.0
    assert metrics(space)[1]["kl"] != 0.0
    assert ChatModel.load(space.model, torch.device("cpu")).model.lm_head.weight.dtype == (
        torch.float32
    )
