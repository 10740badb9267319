"""What a model folder is said to hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from arriero.cli import main
from arriero.conversion.convert import convert
from arriero.conversion.inspection import inspect_model
from arriero.model.heads import ScoreModel
from arriero.model.weights import load_language_model, save_score_model
from arriero.records import LLAMA2_IDS, UserError
from tests.conversion.conftest import NewModel


def said(folder: Path, *, check: bool = False) -> dict[str, str]:
    lines = (line for line in inspect_model(folder, check=check) if line != "files")
    return {line[:16].strip() or line: line[16:].strip() for line in lines}


def test_a_chat_model(new_model: NewModel) -> None:
    source = new_model(tie_embeddings=True, attention_bias=True, vocab_size=410)
    found = said(source)
    config = load_language_model(source).config
    assert found["architecture"] == "LlamaForCausalLM, Hugging Face layout"
    assert found["shape"] == (
        "2 layers of 64, 4/2 heads of 16, SwiGLU 96, vocabulary 410, context 128, "
        "tied embeddings, attention biases"
    )
    assert found["rotary"] == "base 10,000"
    assert found["parameters"] == f"{config.num_parameters:,}"
    assert found["embedding"] == f"{410 * 64:,}"
    # A layer: 64 to 64, 32, 32 and back, with biases.
    assert found["attention"] == f"{2 * (64 * (64 + 32 + 32 + 64) + 64 + 32 + 32 + 64):,}"
    assert found["feed-forward"] == f"{2 * 3 * 64 * 96:,}"
    assert found["norms"] == f"{5 * 64:,}"
    assert found["head"] == "is the embedding"
    assert found["type"] == "float32"
    assert found["special ids"] == "BOS 1, ends 2, padding 0"
    assert found["tokenizer"] == (
        "tokenizer.model, 400 tokens, 10 rows of the embedding without a token"
    )
    assert found["chat template"] == "yes"
    assert found["remote code"] == "none asked for"
    digest = hashlib.sha256((source / "config.json").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in " ".join(inspect_model(source))


def test_other_layouts_heads_and_types(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model("llama3", rope_scaling="llama3", rope_factor=8.0, dtype=torch.bfloat16)
    found = said(source)
    assert found["rotary"] == "base 10,000, llama3 scaling by 8"
    assert found["type"] == "bfloat16"
    assert found["special ids"].count(",") >= 4  # more than one end
    meta = new_model(name="plain")
    convert(meta, tmp_path / "meta", "meta")
    assert said(tmp_path / "meta")["architecture"] == "LlamaForCausalLM, Meta layout"
    language = load_language_model(meta)
    save_score_model(ScoreModel.from_language_model(language, seed=0), tmp_path / "s", LLAMA2_IDS)
    found = said(tmp_path / "s")
    assert found["architecture"].startswith("reward model")
    assert found["head"] == "64"
    assert found["tokenizer"] == "none"


def test_parts_add_up(new_model: NewModel) -> None:
    found = said(new_model())
    parts = ("embedding", "attention", "feed-forward", "norms", "head")
    total = sum(int(found[part].replace(",", "")) for part in parts)
    assert f"{total:,}" == found["parameters"]


def test_numbers_that_are_not_finite(new_model: NewModel) -> None:
    source = new_model()
    assert said(source, check=True)["numbers"] == "all finite"
    weights = load_file(source / "model.safetensors")
    weights["model.norm.weight"][5] = float("nan")
    save_file(weights, source / "model.safetensors")
    said(source)
    with pytest.raises(UserError, match=r"model\.norm\.weight holds numbers that are not finite"):
        said(source, check=True)


def test_hashes_that_a_manifest_names(new_model: NewModel) -> None:
    source = new_model()
    content = (source / "tokenizer.json").read_bytes()
    outputs = {
        f"{source.name}/tokenizer.json": hashlib.sha256(content).hexdigest(),
        f"{source.name}/config.json": "0" * 64,
    }
    (source.parent / "manifest.json").write_text(json.dumps({"outputs": outputs}))
    lines = list(inspect_model(source))
    assert next(line for line in lines if "tokenizer.json" in line).endswith("as made")
    assert next(line for line in lines if " config.json" in line).endswith(
        "CHANGED since it was made"
    )


def test_code_is_named_and_not_run(new_model: NewModel, tmp_path: Path) -> None:
    source, trace = new_model(), tmp_path / "trace"
    (source / "modeling_evil.py").write_text(f"open({str(trace)!r}, 'w')\n")
    assert said(source)["remote code"] == "modeling_evil.py: never run"
    for name in ("config.json", "tokenizer_config.json"):
        raw = json.loads((source / name).read_text())
        (source / name).write_text(json.dumps(raw | {"auto_map": {"AutoModel": "modeling_evil.M"}}))
    found = said(source)
    assert found["remote code"] == (
        "config.json (auto_map), tokenizer_config.json (auto_map), modeling_evil.py: never run"
    )
    assert found["weights"] == "not opened: the model asks for code of its own"
    assert not trace.exists()


def test_the_command(new_model: NewModel, capsys: pytest.CaptureFixture[str]) -> None:
    source = new_model()
    assert main(["inspect", str(source)]) == 0
    assert capsys.readouterr().out.startswith("architecture    LlamaForCausalLM")
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert main(["inspect", str(source), "--check"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "damaged weights" in lines[0]
    assert main(["inspect", str(source / "nothing")]) == 2
    assert "no such model folder" in capsys.readouterr().err
