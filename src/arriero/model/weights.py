"""Model folders: plain Hugging Face layout, safetensors only, nothing in them is ever executed.

Departure: none from the format. Both `rope_parameters` / `dtype` (transformers 5) and
`rope_theta` / `torch_dtype` (everything older, vLLM, llama.cpp) are written. Other Llama shapes,
sharded writing and Meta's own layout are not covered here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor, nn

from arriero.model.config import ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.records import UserError

# safetensors leaves the type of its paths open: results are cast where they come in.
_safetensors = cast(Any, safetensors_torch)


def save_language_model(model: LanguageModel, folder: Path) -> None:
    """Write config.json, generation_config.json and model.safetensors of a chat or base model."""
    _save(model, model.config, folder, {"architectures": ["LlamaForCausalLM"]})
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": True}
    _write_json(folder / "generation_config.json", generation)


def save_score_model(model: ScoreModel, folder: Path) -> None:
    """Write a reward model as sequence classification with one label; it returns the raw score."""
    labels = {
        "architectures": ["LlamaForSequenceClassification"],
        "num_labels": 1,
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
        "problem_type": "regression",
    }
    _save(model, model.config, folder, labels)


def load_language_model(folder: Path | str, *, dtype: torch.dtype | None = None) -> LanguageModel:
    """The chat or base model of a folder.

    Raises:
        UserError: no such folder, another architecture, damaged or misshapen weights.
    """
    folder = Path(folder)
    raw = read_config(folder)
    with torch.device("meta"):
        model = LanguageModel(config_from_hugging_face(raw, folder))
    weights = _read_weights(folder)
    if raw.get("tie_word_embeddings") and "model.embed_tokens.weight" in weights:
        weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"].clone())
    return cast(LanguageModel, _fill(model, weights, folder, dtype))


def load_score_model(folder: Path | str, *, dtype: torch.dtype | None = None) -> ScoreModel:
    """The reward model of a folder; raises UserError as load_language_model does."""
    folder = Path(folder)
    with torch.device("meta"):
        model = ScoreModel(config_from_hugging_face(read_config(folder), folder))
    return cast(ScoreModel, _fill(model, _read_weights(folder), folder, dtype))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder")
    if not path.is_file():
        raise UserError(f"{folder}: not a model folder (no config.json in it)")
    return _read_json(path)


def config_from_hugging_face(raw: dict[str, Any], folder: Path) -> ModelConfig:
    """Our shape from Hugging Face's keys; raises UserError for what is not a plain Llama."""
    if raw.get("model_type") != "llama":
        raise UserError(
            f"{folder}: model type {raw.get('model_type')!r} is not supported, only llama"
        )
    rope = cast(dict[str, Any], raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise UserError(f"{folder}: scaled rotary embeddings are not supported")
    try:
        return ModelConfig(
            vocab_size=raw["vocab_size"],
            dim=raw["hidden_size"],
            num_layers=raw["num_hidden_layers"],
            num_heads=raw["num_attention_heads"],
            num_kv_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            ffn_dim=raw["intermediate_size"],
            context=raw["max_position_embeddings"],
            rope_theta=raw.get("rope_theta") or rope.get("rope_theta") or 10_000.0,
            norm_eps=raw.get("rms_norm_eps", 1e-5),
        )
    except KeyError as error:
        raise UserError(f"{folder / 'config.json'}: key {error} is missing") from None
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from None


def config_to_hugging_face(config: ModelConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Hugging Face's keys from our shape."""
    name = str(dtype).removeprefix("torch.")
    return {
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        # The pad token is <unk>, never EOS: transformers finds a sequence's last token by it.
        "pad_token_id": 0,
        "torch_dtype": name,
        "dtype": name,
    }


def _save(
    model: LanguageModel | ScoreModel, config: ModelConfig, folder: Path, extra: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    dtype = next(iter(weights.values())).dtype
    _write_json(folder / "config.json", config_to_hugging_face(config, dtype) | extra)
    _safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _read_weights(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        placed = _read_json(index).get("weight_map")
        if not isinstance(placed, dict) or not placed:
            raise UserError(f"{index}: no weight_map; it says which file holds which weight")
        names = sorted({str(name) for name in cast(dict[str, Any], placed).values()})
    weights: dict[str, Tensor] = {}
    for name in names:
        path = folder / Path(name).name  # a name from the index never leads out of the folder
        if not path.is_file():
            raise UserError(f"{path}: no such file; a model folder needs its safetensors weights")
        try:
            weights |= cast(dict[str, Tensor], _safetensors.load_file(path))
        except SafetensorError as error:
            raise UserError(f"{path}: damaged weights ({error})") from None
    return weights


def _fill(
    model: nn.Module, weights: dict[str, Tensor], folder: Path, dtype: torch.dtype | None
) -> nn.Module:
    """Put weights into a model on the meta device, after checking every name and shape."""
    expected = model.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    if missing:
        raise UserError(f"{folder}: weights lack {missing[0]} ({len(missing)} missing in all)")
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise UserError(
                f"{folder}: {name} has shape {list(weights[name].shape)}, "
                f"config.json says {list(tensor.shape)}"
            )
    kept = {name: weights[name].to(dtype or weights[name].dtype) for name in expected}
    model.load_state_dict(kept, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return cast(dict[str, Any], value)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
