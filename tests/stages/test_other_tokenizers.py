"""The whole road with tokenizers and chat templates that are not Llama 2's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from arriero.data.shards import Shard
from arriero.data.writing import write_dialogs, write_preferences, write_prompts
from arriero.inference.generate import Sampling
from arriero.inference.session import ChatSession
from arriero.model.config import ModelConfig
from arriero.records import Dialog, Message, Preference, Prompt
from arriero.stages import ppo, pretrain, rejection, reward, sft
from arriero.stages.ppo import PpoConfig
from arriero.stages.pretrain import PretrainConfig
from arriero.stages.rejection import RejectionConfig
from arriero.stages.reward_config import RewardConfig
from arriero.stages.reward_mix import MixConfig
from arriero.stages.sampling import ChatModel
from arriero.stages.sft import SftConfig
from arriero.tokenizer import encode_dialog, encode_prompt, load_tokenizer
from arriero.training.optimizer import OptimizerConfig
from tests.tokenizer import families

from .conftest import WORDS, NewWorkspace, metrics, results

Build = Callable[[Path, Iterable[str]], Path]
CONTEXT = 160
FAST = OptimizerConfig(peak=1e-2, warmup_steps=0)
SFT = SftConfig(epochs=4, rows_per_step=4, row_length=CONTEXT, precision="float32", optimizer=FAST)


@pytest.mark.slow
@pytest.mark.parametrize(
    "build", [families.llama3, families.smollm, families.smollm_base, families.metaspace]
)
def test_every_stage(build: Build, tmp_path: Path, workspace: NewWorkspace) -> None:
    documents = [" ".join([WORDS[n % 14], *WORDS, str(n)]) for n in range(300)]
    start = build(tmp_path / "start", documents)
    tokenizer = load_tokenizer(start)
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in documents)
    )
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        dim=16,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        ffn_dim=32,
        context=CONTEXT,
    )
    base = workspace("base")
    pretrain.run(
        PretrainConfig(
            num_tokens=4000,
            tokens_per_step=640,
            row_length=CONTEXT,
            precision="float32",
            optimizer=FAST,
        ),
        model_config=shape,
        corpus=[tmp_path / "corpus.jsonl"],
        tokenizer_folder=start,
        workspace=base,
    )
    shard = Shard(base.folder / "shard", CONTEXT)
    assert int(shard.tokens[0]) == tokenizer.start_id
    assert int(shard.tokens[-1]) == tokenizer.eos_id

    dialogs = [
        Dialog((Message("user", f"{WORDS[n % 14]} {n}"), Message("assistant", WORDS[n % 3])))
        for n in range(60)
    ]
    write_dialogs(tmp_path / "dialogs.jsonl", dialogs)
    chat = workspace("chat")
    sft.run(SFT, base=base.model, instructions=[tmp_path / "dialogs.jsonl"], workspace=chat)
    assert results(chat)["dropped_too_long"] == 0

    rows = [Preference(each.prompt, each.answer, "no") for each in dialogs]
    write_preferences(tmp_path / "rows.jsonl", rows)
    judges = workspace("helpfulness"), workspace("safety")
    for space in judges:
        reward.run(
            RewardConfig(pairs_per_step=16, precision="float32", optimizer=FAST),
            track="helpfulness",
            mix=MixConfig(),
            start=chat.model,
            train={"helpfulness": [tmp_path / "rows.jsonl"]},
            test={"all": [tmp_path / "rows.jsonl"]},
            workspace=space,
        )
    rewards = judges[0].model, judges[1].model

    prompts = [Prompt(str(n), each.prompt, "helpfulness") for n, each in enumerate(dialogs)]
    write_prompts(tmp_path / "prompts.jsonl", prompts)
    chosen = workspace("rejection")
    rejection.run(
        RejectionConfig(
            samples_per_prompt=2, fitting_prompts=2, max_new_tokens=8, max_prompts=6, sft=SFT
        ),
        base=base.model,
        policy=chat.model,
        rewards=rewards,
        prompts=[tmp_path / "prompts.jsonl"],
        instructions=[tmp_path / "dialogs.jsonl"],
        workspace=chosen,
    )
    moved = workspace("ppo")
    ppo.run(
        PpoConfig(iterations=2, samples=8, mini_batch=4, max_new_tokens=8, held_out_prompts=4),
        start=chosen.model,
        rewards=rewards,
        prompts=[tmp_path / "prompts.jsonl"],
        held_out=[tmp_path / "prompts.jsonl"],
        workspace=moved,
    )
    assert all(line["ratio_first"] == pytest.approx(1.0, abs=1e-6) for line in metrics(moved))
    assert all(line["sampler_gap"] < 1e-4 for line in metrics(moved))

    for space in (base, chat, *judges, chosen, moved):
        opened = load_tokenizer(space.model)
        assert opened.fingerprint == tokenizer.fingerprint
        assert opened.special == tokenizer.special
    check_chat(moved.model, dialogs[0])


def check_chat(folder: Path, dialog: Dialog) -> None:
    """The folder talks, ends its answers by its own token, and transformers gives its ids."""
    model = ChatModel.load(folder, torch.device("cpu"))
    prompts = [Prompt(str(n), dialog.prompt) for n in range(20)]
    answers = model.answers(prompts, Sampling(max_new_tokens=24), seed=0)
    ended = [answer for samples in answers for answer in samples if answer.completion.ended]
    assert ended
    end = model.tokenizer.layout.answer("salt")[-1]
    assert any(answer.completion.tokens[-1] == end for answer in ended)
    assert isinstance(ChatSession.load(folder).answer("salt 1", max_new_tokens=8), str)
    hugging_face: Any = AutoTokenizer.from_pretrained(folder)
    row = [{"role": "user", "content": dialog.messages[0].content}]
    ids = hugging_face.apply_chat_template(row, add_generation_prompt=True, return_dict=False)
    assert ids == encode_prompt(model.tokenizer, dialog.prompt)
    assert ids == encode_dialog(model.tokenizer, dialog).ids[: len(ids)]
