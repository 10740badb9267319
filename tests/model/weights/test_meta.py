"""Meta's layout in both directions, against weights that are cut and permuted row by row here."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from arriero.model.config import LLAMA2_7B, LLAMA2_70B, ModelConfig
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import is_meta, open_hugging_face, open_meta, write_meta
from arriero.model.weights.hugging_face import save_language_model, save_score_model
from arriero.model.weights.meta_params import lost_in_params, params_from_config
from arriero.records import LLAMA2_IDS, UserError

LLAMA2 = ModelConfig(
    vocab_size=48, dim=64, num_layers=2, num_heads=32, num_kv_heads=4, ffn_dim=40, context=4096
)
LLAMA3 = LLAMA2.model_copy(update={"rope_theta": 500_000.0, "context": 8192})
LLAMA32 = LLAMA3.model_copy(
    update={
        "tie_embeddings": True,
        "rope_scaling": "llama3",
        "rope_factor": 32.0,
        "context": 131_072,
    }
)
FAMILIES = {"llama 2": LLAMA2, "llama 3": LLAMA3, "llama 3.2": LLAMA32}


def theirs(model: LanguageModel) -> dict[str, Tensor]:
    """The whole model in Meta's layout, row by row: head by head, one of each half in turn."""
    config, half = model.config, model.config.head_dim // 2
    weights = model.state_dict()

    def pairs(rows: Tensor) -> Tensor:
        turned = torch.empty_like(rows)
        for row in range(rows.shape[0]):
            head, within = divmod(row, config.head_dim)
            in_pair, pair = divmod(within, half)
            turned[head * config.head_dim + 2 * pair + in_pair] = rows[row]
        return turned

    names = {
        "tok_embeddings.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    for layer in range(config.num_layers):
        here, there = f"model.layers.{layer}", f"layers.{layer}"
        names |= {
            f"{there}.attention.wq.weight": f"{here}.self_attn.q_proj.weight",
            f"{there}.attention.wk.weight": f"{here}.self_attn.k_proj.weight",
            f"{there}.attention.wv.weight": f"{here}.self_attn.v_proj.weight",
            f"{there}.attention.wo.weight": f"{here}.self_attn.o_proj.weight",
            f"{there}.feed_forward.w1.weight": f"{here}.mlp.gate_proj.weight",
            f"{there}.feed_forward.w2.weight": f"{here}.mlp.down_proj.weight",
            f"{there}.feed_forward.w3.weight": f"{here}.mlp.up_proj.weight",
            f"{there}.attention_norm.weight": f"{here}.input_layernorm.weight",
            f"{there}.ffn_norm.weight": f"{here}.post_attention_layernorm.weight",
        }
    turned = ("wq.weight", "wk.weight")
    return {
        name: pairs(weights[ours]) if name.endswith(turned) else weights[ours].clone()
        for name, ours in names.items()
    }


def shard(whole: dict[str, Tensor], rank: int, num_ranks: int, embedding: int) -> dict[str, Tensor]:
    part: dict[str, Tensor] = OrderedDict()
    for name, tensor in whole.items():
        if "norm" in name:
            part[name] = tensor
        elif name.endswith(("wo.weight", "w2.weight")):
            part[name] = tensor.chunk(num_ranks, 1)[rank].clone()
        elif name == "tok_embeddings.weight":
            part[name] = tensor.chunk(num_ranks, embedding)[rank].clone()
        else:
            part[name] = tensor.chunk(num_ranks, 0)[rank].clone()
    part["rope.freqs"] = torch.zeros(3)
    return part


def meta_folder(folder: Path, model: LanguageModel, num_ranks: int = 1) -> Path:
    """A folder as Meta ships one, written without our code."""
    config = model.config
    folder.mkdir(parents=True, exist_ok=True)
    params: dict[str, Any] = {
        "dim": config.dim,
        "n_layers": config.num_layers,
        "n_heads": config.num_heads,
        "n_kv_heads": config.num_kv_heads,
        "multiple_of": 8,
        "norm_eps": config.norm_eps,
        "vocab_size": -1,
    }
    if config.rope_theta != 10_000:
        params["rope_theta"] = config.rope_theta
    if config.rope_scaling == "llama3":
        params["use_scaled_rope"] = True
    (folder / "params.json").write_text(json.dumps(params))
    embedding = 0 if config.rope_theta >= 500_000 else 1
    whole = theirs(model)
    for rank in range(num_ranks):
        part = shard(whole, rank, num_ranks, embedding)
        torch.save(part, folder / f"consolidated.{rank:02d}.pth")
    return folder


def fresh(config: ModelConfig) -> LanguageModel:
    return LanguageModel.fresh(config, seed=1).bfloat16()


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        open_meta(folder)
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_metas_folders_are_read(tmp_path: Path, config: ModelConfig, num_ranks: int) -> None:
    """32 query and 4 key heads: a key permuted by the number of queries would show."""
    model = fresh(config)
    found = open_meta(meta_folder(tmp_path, model, num_ranks))
    assert found.config == config
    weights = model.state_dict()
    assert len(found.tensors) == len(weights) - config.tie_embeddings
    for name, lazy in found.tensors.items():
        assert lazy.dtype == torch.bfloat16
        assert torch.equal(lazy.read(), weights[name]), name


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_metas_folders_are_written(tmp_path: Path, config: ModelConfig, num_ranks: int) -> None:
    model = fresh(config)
    save_language_model(model, tmp_path / "ours", LLAMA2_IDS)
    (tmp_path / "meta").mkdir()
    write_meta(open_hugging_face(tmp_path / "ours"), tmp_path / "meta", num_ranks)
    whole = theirs(model)
    for rank in range(num_ranks):
        path = tmp_path / "meta" / f"consolidated.{rank:02d}.pth"
        expected = shard(whole, rank, num_ranks, 0 if config.rope_theta >= 500_000 else 1)
        del expected["rope.freqs"]
        for mmap in (False, True):
            got = torch.load(path, weights_only=True, mmap=mmap)
            assert got.keys() == expected.keys()
            for name, tensor in expected.items():
                assert torch.equal(got[name], tensor), name
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None  # every checksum is right
    assert open_meta(tmp_path / "meta").config == config


def test_the_width_of_the_swiglu_is_said_by_metas_rule() -> None:
    """4 * dim, two thirds of it, times the multiplier, up to the next multiple."""
    odd = LLAMA2.model_copy(update={"ffn_dim": 1237})
    for config, expected in (
        (LLAMA2_7B, {"multiple_of": 256}),
        (LLAMA2_70B, {"multiple_of": 1024, "ffn_dim_multiplier": 1.3}),
        (odd, None),
    ):
        params = params_from_config(config)
        rule = {key: params[key] for key in ("multiple_of", "ffn_dim_multiplier") if key in params}
        assert expected in (rule, None)
        width = int(2 * (4 * config.dim) / 3)
        width = int(rule.get("ffn_dim_multiplier", 1) * width)
        multiple = rule["multiple_of"]
        assert multiple * ((width + multiple - 1) // multiple) == config.ffn_dim


@pytest.mark.parametrize(
    ("params", "context"),
    [
        ({"norm_eps": 1e-6}, 2048),
        ({}, 4096),
        ({"rope_theta": 1_000_000.0}, 16_384),
        ({"rope_theta": 500_000.0}, 8192),
        ({"rope_theta": 500_000.0, "use_scaled_rope": True}, 131_072),
    ],
)
def test_the_context_of_the_released_families(
    tmp_path: Path, params: dict[str, Any], context: int
) -> None:
    folder = meta_folder(tmp_path, fresh(LLAMA2))
    path = folder / "params.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | params))
    assert open_meta(folder).config.context == context
    assert open_meta(folder, context=77).config.context == 77


def test_what_params_cannot_say_is_said() -> None:
    assert lost_in_params(LLAMA2) is None
    short = LLAMA2.model_copy(update={"context": 512})
    assert "--context 512" in str(lost_in_params(short))


@pytest.mark.parametrize(
    "values",
    [
        {"attention_bias": True},
        {"head_width": 4},
        {"rope_scaling": "linear", "rope_factor": 2.0},
        {"rope_scaling": "llama3", "rope_factor": 5.0},
    ],
    ids=str,
)
def test_what_metas_layout_has_no_place_for(tmp_path: Path, values: dict[str, Any]) -> None:
    save_language_model(fresh(LLAMA2.model_copy(update=values)), tmp_path, LLAMA2_IDS)
    with pytest.raises(UserError, match="no place for"):
        write_meta(open_hugging_face(tmp_path), tmp_path)


def test_reward_models_and_odd_numbers_of_ranks(tmp_path: Path) -> None:
    save_score_model(ScoreModel(LLAMA2), tmp_path / "score", LLAMA2_IDS)
    with pytest.raises(UserError, match="no place for a reward model"):
        write_meta(open_hugging_face(tmp_path / "score"), tmp_path)
    save_language_model(fresh(LLAMA2), tmp_path / "chat", LLAMA2_IDS)
    for count in (0, 3, 8, -1, 100):
        with pytest.raises(UserError, match=f"--shards {count} does not divide"):
            write_meta(open_hugging_face(tmp_path / "chat"), tmp_path, count)


def test_a_missing_rank(tmp_path: Path) -> None:
    folder = meta_folder(tmp_path, fresh(LLAMA2), 4)
    (folder / "consolidated.03.pth").unlink()
    assert "is a consolidated.NN.pth missing?" in refusal(folder)
    (folder / "consolidated.01.pth").unlink()
    assert "consolidated.01.pth: no such file" in refusal(folder)
    for path in folder.glob("*.pth"):
        path.unlink()
    assert "consolidated.00.pth: no such file" in refusal(folder)
    assert is_meta(folder)
    assert not is_meta(tmp_path / "elsewhere")


def test_missing_params(tmp_path: Path) -> None:
    folder = meta_folder(tmp_path, fresh(LLAMA2))
    params = json.loads((folder / "params.json").read_text())
    for key in ("dim", "n_heads", "n_layers"):
        kept = {name: value for name, value in params.items() if name != key}
        (folder / "params.json").write_text(json.dumps(kept))
        assert f"key '{key}' is missing" in refusal(folder)
    for odd in ({"rope_theta": "wide"}, {"n_heads": 5}, {"norm_eps": -1}, {"n_kv_heads": 7}):
        (folder / "params.json").write_text(json.dumps(params | odd))
        assert "params.json" in refusal(folder)
    (folder / "params.json").write_text("{")
    assert "not valid JSON" in refusal(folder)
    (folder / "params.json").unlink()
    assert "no params.json" in refusal(folder)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    folder = meta_folder(tmp_path, fresh(LLAMA2))
    path = folder / "consolidated.00.pth"
    whole = torch.load(path, weights_only=True)
    torch.save(whole | {"stranger.weight": torch.zeros(2)}, path)
    assert "holds stranger.weight, which is no part" in refusal(folder)
    torch.save({n: t for n, t in whole.items() if n != "layers.1.attention.wo.weight"}, path)
    assert "lack layers.1.attention.wo.weight" in refusal(folder)
    torch.save(whole | {"norm.weight": torch.zeros(63)}, path)
    assert "norm.weight has shape [63]" in refusal(folder)
    torch.save(whole | {"norm.weight": torch.zeros(64, dtype=torch.int64)}, path)
    assert "norm.weight is of type torch.int64" in refusal(folder)
    torch.save(whole | {"norm.weight": "none"}, path)
    assert "'norm.weight' is no tensor" in refusal(folder)
    torch.save([1, 2], path)
    assert "no table of weights" in refusal(folder)


def test_tensors_that_share_a_storage_are_read_from_their_places(tmp_path: Path) -> None:
    """Meta's larger checkpoints keep the weights of a block in one storage."""
    model = fresh(LLAMA2)
    folder = meta_folder(tmp_path, model)
    path = folder / "consolidated.00.pth"
    whole = torch.load(path, weights_only=True)
    names = [name for name in whole if name.startswith("layers.1.")]
    together = torch.cat([whole[name].flatten() for name in names])
    place = 0
    for name in names:
        size, shape = whole[name].numel(), whole[name].shape
        whole[name] = together[place : place + size].view(shape)
        place += size
    torch.save(whole, path)
    for name, lazy in open_meta(folder).tensors.items():
        assert torch.equal(lazy.read(), model.state_dict()[name]), name


class Spell:
    """A pickle of this makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    folder = meta_folder(tmp_path / "model", fresh(LLAMA2))
    path, trace = folder / "consolidated.00.pth", tmp_path / "trace"
    whole = torch.load(path, weights_only=True)
    torch.save(whole | {"spell": Spell(trace)}, path)
    assert "holds more than tensors" in refusal(folder)
    assert not trace.exists()
    path.write_bytes(pickle.dumps({"spell": Spell(trace)}))
    assert "consolidated.00.pth" in refusal(folder)
    assert not trace.exists()
    # The spell works where nothing stops it: the test could fail.
    pickle.loads(pickle.dumps(Spell(trace)))
    assert trace.is_dir()


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.99])
def test_truncated_pth(tmp_path: Path, kept: float) -> None:
    folder = meta_folder(tmp_path, fresh(LLAMA2))
    path = folder / "consolidated.00.pth"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "damaged weights" in refusal(folder)


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder = meta_folder(tmp_path / "model", fresh(LLAMA2))
    path = folder / "consolidated.00.pth"
    path.rename(tmp_path / "outside.pth")
    path.symlink_to(tmp_path / "outside.pth")
    assert "a link out of the folder" in refusal(folder)
