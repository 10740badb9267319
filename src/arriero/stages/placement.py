"""Models on the ranks of a job: drawn or read a tensor at a time, spread, put together again.

One process alone gets the plain model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.lora import merged_state
from arriero.model.transformer import drawn
from arriero.model.weights import load_language_model, load_score_model, open_hugging_face
from arriero.stages.workspace import Workspace
from arriero.training.parallel import Precision, distribute, fill, whole_tensors

Model = TypeVar("Model", LanguageModel, ScoreModel)

# What else of a language model computes with its weights.
_METHODS = ("token_loss_sum", "token_logprobs", "token_logprobs_and_entropy")


def fresh_language_model(
    config: ModelConfig, workspace: Workspace, precision: Precision
) -> LanguageModel:
    """Newly drawn weights: the same ones on any number of ranks."""
    if workspace.ranks.mesh is None:
        return spread(LanguageModel.fresh(config, workspace.seed), workspace, precision)
    with torch.device("meta"):
        model = LanguageModel(config)
    spread(model, workspace, precision)
    generator = torch.Generator().manual_seed(workspace.seed)
    fill(
        model,
        workspace.device,
        lambda name, shape: drawn(name, shape, config.num_layers, generator),
    )
    return model


def read_language_model(
    folder: Path, workspace: Workspace, precision: Precision, dtype: torch.dtype | None = None
) -> LanguageModel:
    """The model of a folder, on ranks in float32 and never whole.

    Raises:
        UserError: as load_language_model.
    """
    if workspace.ranks.mesh is None:
        return spread(load_language_model(folder, dtype=dtype), workspace, precision)
    checkpoint = open_hugging_face(folder, "language")
    with torch.device("meta"):
        model = LanguageModel(checkpoint.config)
    spread(model, workspace, precision)
    fill(model, workspace.device, lambda name, _: checkpoint.tensors[name].read().float())
    return model


def read_score_model(folder: Path, workspace: Workspace, precision: Precision) -> ScoreModel:
    """The reward model of a folder, on ranks in float32 and never whole.

    Raises:
        UserError: as load_score_model.
    """
    if workspace.ranks.mesh is None:
        return spread(load_score_model(folder), workspace, precision)
    checkpoint = open_hugging_face(folder, "score")
    with torch.device("meta"):
        model = ScoreModel(checkpoint.config)
    spread(model, workspace, precision)
    fill(model, workspace.device, lambda name, _: checkpoint.tensors[name].read().float())
    return model


def spread(model: Model, workspace: Workspace, precision: Precision) -> Model:
    """Cut a model up over the ranks, in place.

    Raises:
        UserError: the tensor-parallel ranks cannot share its matrices.
    """
    methods = _METHODS if isinstance(model, LanguageModel) else ()
    distribute(model, list(model.model.layers), workspace.ranks, precision, methods)
    return model if workspace.ranks.mesh else model.to(workspace.device)


def gathered(model: Model, workspace: Workspace) -> Model | None:
    """The whole model on the CPU of the first rank, None on the others; all ranks call it.

    Adapters are merged into it.

    One process alone gets its model back as it is.
    """
    if workspace.ranks.mesh is None:
        return model
    tensors = {
        name: tensor.cpu() if workspace.ranks.is_first else torch.empty(0)
        for name, tensor in whole_tensors(model)
    }
    return _plain(model, tensors) if workspace.ranks.is_first else None


def whole_copy(model: Model, workspace: Workspace, precision: Precision = "float32") -> Model:
    """The whole model as it is now, on every rank, where its shares lie; all ranks call it.

    Adapters are merged into it. It does not follow the model: let go of it before it learns on.

    Args:
        precision: bfloat16 takes half the room, and is rounded.

    One process alone gets its model back as it is, if that is in float32.
    """
    if workspace.ranks.mesh is None and precision == "float32":
        return model
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    return _plain(model, dict(whole_tensors(model)), dtype)


def _plain(model: Model, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> Model:
    """A model of its own with the weights of a whole state dict, of another type if `dtype` is."""
    with torch.device("meta"):
        plain = type(model)(model.config)
    whole = merged_state(model, tensors)
    if dtype is not None:
        # Merged before they are rounded: an adapter is less than what rounding takes away.
        whole = {name: tensor.to(dtype) for name, tensor in whole.items()}
    plain.load_state_dict(whole, assign=True)
    if isinstance(plain, LanguageModel):
        plain.tie()
    return plain.requires_grad_(False)
