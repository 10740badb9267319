"""Fine-tuning: whole dialogs or none, loss on answers and their EOS alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from arriero.data.packing import PackedBatch, pack
from arriero.data.shards import Shard, write_shard
from arriero.data.writing import write_dialogs
from arriero.inference.session import ChatSession
from arriero.model.lora import LoraConfig
from arriero.model.weights import load_language_model
from arriero.records import Dialog, Message, UserError
from arriero.stages import sft
from arriero.stages.sft import SftConfig, fine_tune
from arriero.stages.workspace import Workspace
from arriero.tokenizer import Tokenizer
from arriero.tokenizer.chat import encode_answer, encode_dialog, encode_prompt
from arriero.training.optimizer import OptimizerConfig

from .conftest import CONFIG, WORDS, NewWorkspace, metrics, results, same_weights

SMALL = SftConfig(
    epochs=2,
    rows_per_step=4,
    row_length=64,
    micro_rows=2,
    valid_share=0.1,
    checkpoint_every=3,
    precision="float32",
    optimizer=OptimizerConfig(peak=1e-2, warmup_steps=0),
)


def dialog(question: str, answer: str) -> Dialog:
    return Dialog((Message("user", question), Message("assistant", answer)))


def dialogs(count: int = 30) -> list[Dialog]:
    return [dialog(f"{WORDS[n % 14]} {n}", WORDS[(n + 1) % 14]) for n in range(count)]


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], list[bool]]]:
    """Every sequence that fine-tuning packs, with its mask."""
    seen: list[tuple[list[int], list[bool]]] = []

    def watched(
        ids: Sequence[list[int]], masks: Sequence[list[bool]], *, row_length: int
    ) -> PackedBatch:
        seen.extend(zip(ids, masks, strict=True))
        return pack(ids, masks, row_length=row_length)

    monkeypatch.setattr(sft, "pack", watched)
    return seen


def test_a_dialog_too_long_is_left_out_and_never_cut(
    chat_folder: Path, tokenizer: Tokenizer, workspace: NewWorkspace, packed: list[Any]
) -> None:
    fitting = dialogs(20)
    long = dialog("salt", " ".join(WORDS * 5))
    assert len(encode_dialog(tokenizer, long).ids) > CONFIG.context
    facts = fine_tune(SMALL, chat_folder, [*fitting, long, long], workspace())
    assert facts["dropped_too_long"] == 2
    assert facts["dialogs"] == 18  # a tenth is held out
    whole = {tuple(encode_dialog(tokenizer, item).ids) for item in fitting}
    assert {tuple(ids) for ids, _ in packed} == whole
    assert all(ids[-1] == tokenizer.eos_id for ids, _ in packed)


def test_the_context_bounds_a_row_too(chat_folder: Path, workspace: NewWorkspace) -> None:
    long = dialog("salt", " ".join(WORDS * 5))
    config = SMALL.model_copy(update={"row_length": 500})
    with pytest.raises(UserError, match="none of 1 dialogs fits into 64 tokens"):
        fine_tune(config, chat_folder, [long], workspace())


def test_loss_is_on_answers_and_their_eos(
    chat_folder: Path, tokenizer: Tokenizer, workspace: NewWorkspace, packed: list[Any]
) -> None:
    items = dialogs(12)
    config = SMALL.model_copy(update={"epochs": 1, "valid_share": 0.0, "rows_per_step": 1})
    facts = fine_tune(config, chat_folder, items, workspace())
    counted = {
        tuple(token for token, counts in zip(ids, mask, strict=True) if counts)
        for ids, mask in packed
    }
    answers = [encode_answer(tokenizer, item.answer) for item in items]
    assert counted == {tuple(answer) for answer in answers}
    assert all(answer[-1] == tokenizer.eos_id for answer in counted)
    assert facts["answer_tokens"] == sum(map(len, answers))
    tokens = sum(line["tokens"] for line in metrics(workspace()))
    assert tokens == facts["answer_tokens"]


def test_held_out_dialogs_are_not_trained_on(
    chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: dict[str, set[tuple[int, ...]]] = {"train": set(), "valid": set()}
    plain = sft._fit

    def watched(*arguments: Any) -> int:
        for name, items in (("train", arguments[3]), ("valid", arguments[4])):
            sides[name] = {tuple(item.ids) for item in items}
        return plain(*arguments)

    monkeypatch.setattr(sft, "_fit", watched)
    fine_tune(SMALL, chat_folder, dialogs(30), workspace())
    assert (len(sides["train"]), len(sides["valid"])) == (27, 3)
    assert not sides["train"] & sides["valid"]


def test_it_learns_to_answer_and_to_stop(chat_folder: Path, workspace: NewWorkspace) -> None:
    space = workspace()
    config = SMALL.model_copy(update={"epochs": 25, "valid_share": 0.0})
    items = [dialog(word, "stone bread") for word in WORDS]
    facts = fine_tune(config, chat_folder, items, space)
    assert facts["train_loss"] < 0.1
    chat = ChatSession.load(space.model)
    assert chat.answer("river", temperature=0, max_new_tokens=20) == "stone bread"


def test_a_stage_keeps_the_model_of_four_fifths_of_its_way(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dialogs.jsonl"
    waiting = Dialog((Message("user", "who"),))
    write_dialogs(path, [*dialogs(30), waiting])
    two, saved = workspace("two"), list[tuple[str, int]]()
    save = sft.save_chat_model

    def watched(model: Any, tokenizer: Any, folder: Path) -> None:
        saved.append((folder.name, len(metrics(two))))
        save(model, tokenizer, folder)

    monkeypatch.setattr(sft, "save_chat_model", watched)
    sft.run(SMALL, base=chat_folder, instructions=[path], workspace=two)
    num_steps = len(metrics(two))
    assert saved == [("early", int(0.8 * num_steps)), ("model", num_steps)]
    assert not same_weights(two.folder / "early", two.model)
    assert ChatSession.load(two.folder / "early").tokenizer.vocab_size == CONFIG.vocab_size
    assert results(two)["dialogs"] == 27  # the dialog that waits for an answer is no demonstration


def test_most_dialogs(chat_folder: Path, workspace: NewWorkspace, tmp_path: Path) -> None:
    path = tmp_path / "dialogs.jsonl"
    write_dialogs(path, dialogs(30))
    space = workspace()
    sft.run(SMALL, base=chat_folder, instructions=[path], workspace=space, max_dialogs=10)
    assert results(space)["dialogs"] == 9


def test_prompts_are_those_that_the_model_is_asked_with(tokenizer: Tokenizer) -> None:
    """What comes before the counted tokens is what generation is given, id by id."""
    for item in dialogs(14):
        encoded = encode_dialog(tokenizer, item)
        prompt = encode_prompt(tokenizer, item.prompt)
        assert encoded.ids[: len(prompt)] == prompt
        assert encoded.loss_mask == [False] * len(prompt) + [True] * (
            len(encoded.ids) - len(prompt)
        )


@pytest.mark.parametrize("length", [0, 16])
def test_replayed_rows_join_every_step_and_never_the_held_out_end(
    chat_folder: Path,
    tokenizer: Tokenizer,
    workspace: NewWorkspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
) -> None:
    """The corpus is read again beside the dialogs, in rows of their own length or of the dialogs';

    its last tenth stays out.
    """
    shard_folder = tmp_path / "shard"
    write_shard([" ".join(WORDS)] * 60, tokenizer, shard_folder)
    rows: list[int] = []
    widths: set[int] = set()
    batch_of = Shard.batch

    def watched(shard: Shard, chosen: Iterable[int]) -> PackedBatch:
        taken = list(chosen)
        rows.extend(taken)
        widths.add(batch_of(shard, taken).tokens.shape[1])
        return batch_of(shard, taken)

    monkeypatch.setattr(Shard, "batch", watched)
    space = workspace()
    config = SMALL.model_copy(update={"replay_rows": 3, "replay_length": length})
    fine_tune(config, chat_folder, dialogs(), space, corpus_shard=shard_folder)
    num_steps = len(metrics(space))
    num_rows = Shard(shard_folder, length or SMALL.row_length).num_rows
    assert widths == {length or SMALL.row_length}
    assert len(rows) == 3 * num_steps
    assert max(rows) < int(num_rows * 0.9) < num_rows


def test_steps_may_be_named_in_place_of_epochs(chat_folder: Path, workspace: NewWorkspace) -> None:
    space = workspace()
    facts = fine_tune(SMALL, chat_folder, dialogs(), space, num_steps=3)
    assert facts["steps"] == len(metrics(space)) == 3


def test_adapters_learn_and_are_merged(
    chat_folder: Path, workspace: NewWorkspace, tmp_path: Path
) -> None:
    """The result is a plain folder; what has no adapter is in it as it was."""
    path = tmp_path / "dialogs.jsonl"
    write_dialogs(path, [dialog(word, "stone bread") for word in WORDS])
    space = workspace()
    config = SMALL.model_copy(
        update={"epochs": 40, "valid_share": 0.0, "lora": LoraConfig(rank=4, layers=("o_proj",))}
    )
    sft.run(config, base=chat_folder, instructions=[path], workspace=space)
    assert results(space)["train_loss"] < 0.6 * metrics(space)[0]["loss"]
    start, found, early = (
        load_language_model(folder).state_dict()
        for folder in (chat_folder, space.model, space.folder / "early")
    )
    changed = [name for name in start if not found[name].equal(start[name])]
    assert changed == ["model.layers.0.self_attn.o_proj.weight"]
    assert [name for name in start if not found[name].equal(early[name])] == changed
    # No more than the rank of what was added: of 16 singular values 4 are not zero.
    difference = found[changed[0]] - start[changed[0]]
    values = difference.double().svd().S
    assert float(values[4]) < 1e-5 < 1e-2 < float(values[3])


def test_adapters_stopped_and_run_again_are_bit_equal(
    chat_folder: Path, workspace: NewWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SMALL.model_copy(update={"lora": LoraConfig(rank=4)})
    whole, stopped = workspace("whole"), workspace("stopped")
    fine_tune(config, chat_folder, dialogs(30), whole)
    plain = sft.packed_loss_sum
    calls = [0]

    def stop(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 9:  # two micro-batches a step: in the fifth one
            raise StoppedError
        return plain(*arguments)

    monkeypatch.setattr(sft, "packed_loss_sum", stop)
    with pytest.raises(StoppedError):
        fine_tune(config, chat_folder, dialogs(30), stopped)
    said: list[str] = []
    again = Workspace(stopped.folder, 0, stopped.device, said.append)
    fine_tune(config, chat_folder, dialogs(30), again)
    assert "going on from step 3" in said
    assert same_weights(stopped.model, whole.model)
    names = [name for path in stopped.checkpoints.rglob("*.safetensors") for name in names_in(path)]
    assert names
    assert all("lora_" in name for name in names)


class StoppedError(Exception):
    pass


def names_in(path: Path) -> list[str]:
    with safe_open(path, "pt") as tensors:
        return list(tensors.keys())
