"""Model folders in Hugging Face's layout: safetensors only, nothing in them is ever executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights.hugging_face_config import (
    CONFIG,
    GENERATION,
    config_from_hugging_face,
    config_to_hugging_face,
    read_config,
    special_to_hugging_face,
)
from arriero.model.weights.integrity import check_hashes
from arriero.model.weights.json_files import read_json, write_json
from arriero.model.weights.lazy import LazyTensor, as_type, held
from arriero.model.weights.shapes import EMBEDDING, OUTPUT, SCORE, Head, check_weights
from arriero.model.weights.tensor_files import (
    MAX_SHARD_SIZE,
    open_tensors,
    weight_paths,
    write_tensors,
)
from arriero.records import SpecialIds, UserError

_Model = TypeVar("_Model", LanguageModel, ScoreModel)

_ARCHITECTURES: dict[Head, dict[str, Any]] = {
    "language": {"architectures": ["LlamaForCausalLM"]},
    # A reward model is sequence classification with one label; it returns the raw score.
    "score": {
        "architectures": ["LlamaForSequenceClassification"],
        "num_labels": 1,
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
        "problem_type": "regression",
    },
}


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk, in whichever layout: its shape, and its weights under our names.

    Attributes:
        config: the shape of the network.
        head: what stands on the decoder.
        tensors: every weight that `weight_shapes` names, in that order.
    """

    config: ModelConfig
    head: Head
    tensors: dict[str, LazyTensor]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the embedding, which stands for all."""
        return self.tensors[EMBEDDING].dtype


def open_hugging_face(folder: Path, head: Head | None = None) -> Checkpoint:
    """The model of a folder, checked and not read yet.

    Args:
        folder: holds config.json and weights.
        head: what has to stand on the decoder; whatever does, if left out.

    Raises:
        UserError: no such folder, another architecture, damaged, missing or misshapen weights.
    """
    config = config_from_hugging_face(read_config(folder), folder)
    tensors = open_tensors(folder)
    check_hashes(folder, weight_paths(folder))
    if head is None:
        head = "score" if SCORE in tensors else "language"
    if head == "language" and config.tie_embeddings and _differ(tensors):
        config = config.model_copy(update={"tie_embeddings": False})
    return Checkpoint(config, head, check_weights(tensors, config, head, folder))


def _differ(tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether a model said to be tied has an output matrix of its own; then that one counts.

    transformers does the same: both are in the file, so the configuration is what is wrong.
    """
    if OUTPUT not in tensors or EMBEDDING not in tensors:
        return False
    return not torch.equal(tensors[OUTPUT].read(), tensors[EMBEDDING].read())


def write_hugging_face(
    checkpoint: Checkpoint,
    folder: Path,
    special: SpecialIds,
    max_shard_size: int = MAX_SHARD_SIZE,
) -> None:
    """Write config.json, weights and, for a language model, generation_config.json.

    Args:
        checkpoint: what to write; its tensors are read one at a time.
        folder: is made if need be; weights that are there already go.
        special: ids of the tokenizer, which the configurations name too.
        max_shard_size: bytes of a weight file; above it there are several, and an index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder, checkpoint.tensors, max_shard_size)
    raw = config_to_hugging_face(checkpoint.config, checkpoint.dtype, special)
    write_json(folder / CONFIG, _ARCHITECTURES[checkpoint.head] | raw)
    if checkpoint.head == "language":
        ids = special_to_hugging_face(special)
        write_json(folder / GENERATION, {**ids, "do_sample": True})


def shape_of(folder: Path) -> ModelConfig:
    """The shape of a language model's folder; raises UserError as load_language_model does."""
    return open_hugging_face(folder, "language").config


def load_language_model(folder: Path | str, *, dtype: torch.dtype | None = None) -> LanguageModel:
    """The chat or base model of a folder.

    Args:
        folder: in Hugging Face's layout; `arriero convert` makes one of Meta's.
        dtype: type of the weights in memory; the file's if left out.

    Raises:
        UserError: no such folder, another architecture, damaged or misshapen weights.
    """
    checkpoint = open_hugging_face(Path(folder), "language")
    with torch.device("meta"):
        model = LanguageModel(checkpoint.config)
    return _fill(model, checkpoint, dtype)


def load_score_model(folder: Path | str, *, dtype: torch.dtype | None = None) -> ScoreModel:
    """The reward model of a folder; raises UserError as load_language_model does."""
    checkpoint = open_hugging_face(Path(folder), "score")
    with torch.device("meta"):
        model = ScoreModel(checkpoint.config)
    return _fill(model, checkpoint, dtype)


def is_score_model(folder: Path) -> bool:
    """Whether a folder says that it is a reward model of the shape known here: one label."""
    try:
        raw = read_json(folder / CONFIG)
    except (OSError, UserError):
        return False
    is_llama = raw.get("architectures") == _ARCHITECTURES["score"]["architectures"]
    # transformers leaves out what is its default, two labels, and names them where they are others.
    return is_llama and (raw.get("num_labels") == 1 or len(raw.get("id2label") or ()) == 1)


def save_language_model(model: LanguageModel, folder: Path, special: SpecialIds) -> None:
    """Write a chat or base model; `special` are the ids of its tokenizer."""
    write_hugging_face(_checkpoint(model, model.config, "language"), folder, special)


def save_score_model(model: ScoreModel, folder: Path, special: SpecialIds) -> None:
    """Write a reward model; `special` are the ids of its tokenizer."""
    write_hugging_face(_checkpoint(model, model.config, "score"), folder, special)


def _checkpoint(model: nn.Module, config: ModelConfig, head: Head) -> Checkpoint:
    tensors = {name: held(tensor) for name, tensor in model.state_dict().items()}
    return Checkpoint(config, head, check_weights(tensors, config, head, Path("the model")))


def _fill(model: _Model, checkpoint: Checkpoint, dtype: torch.dtype | None) -> _Model:
    """Put weights into a model on the meta device, one at a time."""
    read = {name: as_type(lazy, dtype).read() for name, lazy in checkpoint.tensors.items()}
    # strict=False for the output matrix alone, where it is the embedding; the rest was checked.
    model.load_state_dict(read, assign=True, strict=False)
    if isinstance(model, LanguageModel):
        model.tie()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model
