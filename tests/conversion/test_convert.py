"""From layout to layout and back: every bit the same, the tokenizer along, whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from arriero.cli import main
from arriero.conversion.convert import convert, parse_size
from arriero.model.heads import LanguageModel, ScoreModel
from arriero.model.weights import load_language_model, save_score_model
from arriero.records import LLAMA2_IDS, UserError
from arriero.tokenizer import load_tokenizer
from tests.conversion.conftest import NewModel

SHAPES: dict[str, dict[str, Any]] = {
    "llama 2": {},
    "llama 3": {"rope_theta": 500_000.0, "context": 8192},
    "llama 3.2": {
        "rope_theta": 500_000.0,
        "rope_scaling": "llama3",
        "rope_factor": 32.0,
        "context": 131_072,
        "tie_embeddings": True,
    },
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def equal(a: Path, b: Path) -> bool:
    one, other = load_language_model(a), load_language_model(b)
    weights = other.state_dict()
    return one.config == other.config and all(
        torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items()
    )


@pytest.mark.parametrize("num_shards", [1, 2])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_to_meta_and_back(
    tmp_path: Path, new_model: NewModel, shape: dict[str, Any], num_shards: int
) -> None:
    source = new_model(**({"context": 4096} | shape), dtype=torch.bfloat16)
    assert convert(source, tmp_path / "meta", "meta", num_shards=num_shards) is None
    assert convert(tmp_path / "meta", tmp_path / "back", "hugging-face") is None
    assert equal(source, tmp_path / "back")
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (source / name).read_bytes()
    raw, again = (json.loads((f / "config.json").read_text()) for f in (source, tmp_path / "back"))
    assert raw == again


def test_a_download_of_metas_gets_the_files_that_others_need(
    tmp_path: Path, new_model: NewModel
) -> None:
    """The tokenizer lies around the models' folders there, and is a tokenizer.model alone."""
    source = new_model()
    convert(source, tmp_path / "llama" / "7b", "meta")
    for path in (tmp_path / "llama" / "7b").glob("*token*"):
        if path.name == "tokenizer.model":
            path.rename(tmp_path / "llama" / path.name)
        else:
            path.unlink()
    convert(tmp_path / "llama" / "7b", tmp_path / "back", "hugging-face", context=128)
    assert equal(source, tmp_path / "back")
    for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (source / name).read_bytes()
    ids = AutoTokenizer.from_pretrained(tmp_path / "back").encode("salt and wool")
    assert ids == load_tokenizer(source).encode("salt and wool")


def test_a_context_that_params_cannot_say(
    tmp_path: Path, new_model: NewModel, capsys: pytest.CaptureFixture[str]
) -> None:
    source = new_model(context=128)
    assert main(["convert", str(source), str(tmp_path / "meta"), "--to", "meta"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'meta'}\n"
    assert "say --context 128 on the way back" in printed.err
    convert(tmp_path / "meta", tmp_path / "back", "hugging-face", context=128)
    assert equal(source, tmp_path / "back")
    with pytest.raises(UserError, match="--context is for Meta's layout"):
        convert(source, tmp_path / "more", "hugging-face", context=64)


@pytest.mark.parametrize("family", ["llama2", "llama3", "smollm", "metaspace"])
def test_files_of_every_tokenizer_go_along(
    tmp_path: Path, new_model: NewModel, family: str
) -> None:
    source = new_model(family)
    convert(source, tmp_path / "copy", "hugging-face")
    assert names(tmp_path / "copy") == names(source)
    for path in source.glob("*token*"):
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()
    ours, theirs = load_tokenizer(source), load_tokenizer(tmp_path / "copy")
    assert ours.fingerprint == theirs.fingerprint
    assert ours.special == theirs.special


def test_settings_for_sampling_go_along(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    path = source / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"top_p": 0.9}))
    convert(source, tmp_path / "copy", "hugging-face")
    assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


def test_shards_and_types(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    convert(source, tmp_path / "b", "hugging-face", dtype="bfloat16", max_shard_size="40KB")
    assert "model.safetensors.index.json" in names(tmp_path / "b")
    assert all(path.stat().st_size < 60_000 for path in (tmp_path / "b").glob("*.safetensors"))
    exact, rough = load_language_model(source), load_language_model(tmp_path / "b")
    for name, tensor in exact.state_dict().items():
        assert torch.equal(rough.state_dict()[name], tensor.bfloat16())
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    tokens = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, rough(tokens), atol=0.1, rtol=0.1)


def test_reward_models_are_converted_too(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    language = load_language_model(source)
    save_score_model(ScoreModel.from_language_model(language, seed=0), tmp_path / "s", LLAMA2_IDS)
    convert(tmp_path / "s", tmp_path / "half", "hugging-face", dtype="bfloat16")
    raw = json.loads((tmp_path / "half" / "config.json").read_text())
    assert raw["architectures"] == ["LlamaForSequenceClassification"]
    for to, target in (("meta", "m"), ("gguf", "m.gguf")):
        with pytest.raises(UserError, match="reward model"):
            convert(tmp_path / "s", tmp_path / target, to)  # pyright: ignore[reportArgumentType]
        assert not (tmp_path / target).exists()


def test_numbers_beyond_float16_are_not_made_infinite(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    weights = load_file(source / "model.safetensors")
    weights["model.norm.weight"][3] = 1e6
    save_file(weights, source / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.norm\.weight has numbers beyond float16"):
        convert(source, tmp_path / "half", "hugging-face", dtype="float16")
    assert names(tmp_path) == {"model"}


# Whole or not at all


def test_a_target_that_is_taken(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter").write_text("mine")
    with pytest.raises(UserError, match="is there already and not empty"):
        convert(source, taken, "hugging-face")
    assert names(taken) == {"letter"}
    with pytest.raises(UserError, match="a file is in the way"):
        convert(source, taken / "letter", "meta")
    places: list[tuple[Any, str]] = [("meta", "below"), ("gguf", "x.gguf")]
    for to, name in places:
        with pytest.raises(UserError, match="a file is in the way"):
            convert(source, taken / "letter" / "deep" / name, to)
    (taken / "x.gguf").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        convert(source, taken / "x.gguf", "gguf")
    (tmp_path / "empty").mkdir()
    convert(source, tmp_path / "empty", "hugging-face")
    convert(source, tmp_path / "a" / "b" / "c", "hugging-face")
    assert equal(tmp_path / "empty", tmp_path / "a" / "b" / "c")


@pytest.mark.parametrize("to", ["hugging-face", "meta", "gguf"])
def test_nothing_is_left_of_what_fails_midway(
    tmp_path: Path, new_model: NewModel, monkeypatch: pytest.MonkeyPatch, to: Any
) -> None:
    source = new_model()
    path = source / "model.safetensors"

    def shrink(*_: object) -> None:
        path.write_bytes(path.read_bytes()[:-5000])

    # The file shrinks between the check of its header and the reading of its numbers.
    monkeypatch.setattr("arriero.conversion.convert._refuse_tokenizer_code", shrink)
    with pytest.raises(UserError, match="ends too early"):
        convert(source, tmp_path / "new.gguf", to)
    assert names(tmp_path) == {"model"}


@pytest.mark.parametrize("to", ["hugging-face", "meta", "gguf"])
def test_a_disk_without_room(tmp_path: Path, new_model: NewModel, to: Any) -> None:
    """A real write that the system refuses."""
    source = new_model()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match="not written"):
            convert(source, tmp_path / "new.gguf", to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == {"model"}


def test_what_was_left_by_a_kill_does_not_stop_the_next(
    tmp_path: Path, new_model: NewModel
) -> None:
    source = new_model()
    (tmp_path / ".copy.tmp").mkdir()
    (tmp_path / ".copy.tmp" / "half").write_text("half")
    convert(source, tmp_path / "copy", "hugging-face")
    assert names(tmp_path / "copy") == names(source)
    assert names(tmp_path) == {"model", "copy"}


# Bad input


def test_a_tokenizer_of_another_model(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model(vocab_size=420)  # padded to a round number: fine
    convert(source, tmp_path / "padded", "hugging-face")
    for size in (300, 5000):
        other = new_model(name=f"of-{size}", vocab_size=size) if size > 400 else None
        if other is None:
            other = new_model(name="smaller")
            raw = json.loads((other / "config.json").read_text())
            (other / "config.json").write_text(json.dumps(raw | {"vocab_size": size}))
            weights = load_file(other / "model.safetensors")
            for name in ("model.embed_tokens.weight", "lm_head.weight"):
                weights[name] = weights[name][:size].clone()
            save_file(weights, other / "model.safetensors")
        with pytest.raises(UserError, match="do not belong together"):
            convert(other, tmp_path / "never", "hugging-face")


def test_a_tokenizer_that_asks_for_code(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    trace = tmp_path / "trace"
    (source / "evil.py").write_text(f"open({str(trace)!r}, 'w')\n")
    path = source / "tokenizer_config.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"auto_map": {"AutoTokenizer": ["evil.T", None]}}))
    with pytest.raises(UserError, match="asks for code of its own"):
        convert(source, tmp_path / "copy", "hugging-face")
    path.write_text(json.dumps(raw))
    convert(source, tmp_path / "copy", "hugging-face")
    assert "evil.py" not in names(tmp_path / "copy")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--to hugging-face --dtype float8", "--dtype float8: not one of float32, bfloat16"),
        ("--to hugging-face --dtype q8_0", "q8_0 is for --to gguf alone"),
        ("--to hugging-face --shards 2", "--shards is for --to meta alone"),
        ("--to meta --max-shard-size 5GB", "--max-shard-size is for --to hugging-face alone"),
        ("--to hugging-face --max-shard-size big", "--max-shard-size big: not a size"),
        ("--to gguf", "a GGUF model is one file; name it target.gguf"),
        ("--to onnx", "invalid choice: 'onnx'"),
        ("", "the following arguments are required: --to"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, new_model: NewModel, capsys: pytest.CaptureFixture[str], options: str, line: str
) -> None:
    source = new_model()
    before = names(tmp_path)
    assert main(["convert", str(source), str(tmp_path / "target"), *options.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert line in lines[0]
    assert names(tmp_path) == before


def test_sizes() -> None:
    assert parse_size("5GB") == 5_000_000_000
    assert parse_size(" 1.5kb ") == 1500
    assert parse_size("70") == parse_size("70B") == 70
    for text in ("", "GB", "-1GB", "5GiB", "nan", "inf", "1e400", "0"):
        with pytest.raises(UserError, match="not a size"):
            parse_size(text)


@pytest.mark.slow
def test_without_the_package_a_line_names_it(tmp_path: Path, new_model: NewModel) -> None:
    """A process in which `gguf` cannot be imported, and which needs it for nothing else."""
    source = new_model()
    script = (
        "import sys; sys.modules['gguf'] = None; from arriero.cli import main; sys.exit(main())"
    )
    for to, target in (("gguf", "x.gguf"), ("hugging-face", "copy")):
        command = [sys.executable, "-c", script, "convert", source, tmp_path / target, "--to", to]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode == (2 if to == "gguf" else 0), done.stderr
        if to == "gguf":
            assert done.stderr == "arriero: GGUF needs a package: pip install 'arriero[gguf]'\n"
    assert names(tmp_path) == {"model", "copy"}


def test_language_models_load_what_was_converted(tmp_path: Path, new_model: NewModel) -> None:
    source = new_model()
    convert(source, tmp_path / "copy", "hugging-face")
    assert isinstance(load_language_model(tmp_path / "copy"), LanguageModel)
