"""Fine-tuning with adapters beside peft: same start, same batches, the same losses and weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from arriero.data.packing import PackedBatch, pack
from arriero.equations.schedule import cosine_with_warmup
from arriero.model.lora import Layer, LoraConfig, with_adapters
from arriero.model.weights import load_language_model
from arriero.records import Dialog, Message
from arriero.stages import sft
from arriero.stages.sft import SftConfig, fine_tune
from arriero.training.optimizer import OptimizerConfig

from .conftest import WORDS, NewWorkspace, metrics

Sequences = list[tuple[list[int], list[bool]]]

OPTIMIZER = OptimizerConfig(peak=1e-2, warmup_steps=3)
SEED = 7


def peft_model(folder: Path, lora: LoraConfig) -> Any:
    """peft's model of the folder, with the adapters that ours starts from."""
    from peft import LoraConfig as TheirConfig
    from peft import get_peft_model

    theirs: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        TheirConfig(
            r=lora.rank,
            lora_alpha=int(lora.alpha),
            target_modules=list(lora.layers),
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
        ),
    )
    ours = with_adapters(load_language_model(folder), lora, SEED).state_dict()
    copied = 0
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                key = name.removeprefix("base_model.model.").removesuffix(".default.weight")
                parameter.copy_(ours[key.replace("lora_A", "lora_a").replace("lora_B", "lora_b")])
                copied += 1
    assert copied == 2 * len(lora.layers)
    return theirs


def peft_losses(model: Any, steps: Sequence[Sequences]) -> list[float]:
    """Train as the stage does, but unpacked and with a loop of its own."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, betas=(OPTIMIZER.beta1, OPTIMIZER.beta2), eps=OPTIMIZER.eps, weight_decay=0.1
    )
    losses: list[float] = []
    for step, sequences in enumerate(steps):
        width = max(len(ids) for ids, _ in sequences)
        tokens = torch.zeros(len(sequences), width, dtype=torch.int64)
        labels = torch.full_like(tokens, -100)
        for row, (ids, mask) in enumerate(sequences):
            tokens[row, : len(ids)] = torch.tensor(ids)
            labels[row, : len(ids)] = torch.where(torch.tensor(mask), tokens[row, : len(ids)], -100)
        logits = model(input_ids=tokens).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, OPTIMIZER.clip)
        optimizer.param_groups[0]["lr"] = cosine_with_warmup(
            step, len(steps), OPTIMIZER.peak, OPTIMIZER.warmup_steps, OPTIMIZER.final_share
        )
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
# peft asks transformers under an old name; neither is ours.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "layers", [LoraConfig().layers, ("q_proj", "v_proj")], ids=["all", "two as in the paper"]
)
def test_ten_steps_of_sft_equal_peft(
    chat_folder: Path,
    workspace: NewWorkspace,
    monkeypatch: pytest.MonkeyPatch,
    layers: tuple[Layer, ...],
) -> None:
    lora = LoraConfig(rank=4, alpha=16.0, layers=layers)
    steps: list[Sequences] = []

    def watched(
        ids: Sequence[list[int]], masks: Sequence[list[bool]], *, row_length: int
    ) -> PackedBatch:
        steps.append(list(zip(ids, masks, strict=True)))
        return pack(ids, masks, row_length=row_length)

    monkeypatch.setattr(sft, "pack", watched)
    config = SftConfig(
        epochs=5,
        rows_per_step=8,
        row_length=64,
        micro_rows=8,
        valid_share=0.0,
        precision="float32",
        optimizer=OPTIMIZER,
        lora=lora,
    )
    dialogs = [
        Dialog((Message("user", f"{word} {n}"),)).answered(WORDS[(n + 3) % 14])
        for n, word in enumerate(WORDS * 2)
    ]
    space = workspace(seed=SEED)
    fine_tune(config, chat_folder, dialogs, space)
    ours = [line["loss"] for line in metrics(space)]
    assert len(ours) == len(steps) == 10
    theirs = peft_model(chat_folder, lora)
    assert ours == pytest.approx(peft_losses(theirs, steps), abs=2e-6)
    assert ours[-1] < ours[0] - 0.03
    start = load_language_model(chat_folder).state_dict()
    found = load_language_model(space.model).state_dict()
    for name, expected in theirs.merge_and_unload().state_dict().items():
        torch.testing.assert_close(found[name], expected, atol=2e-6, rtol=0)
        is_adapted = name.split(".")[-2] in layers
        assert torch.equal(found[name], start[name]) != is_adapted, name
