"""Safetensors, one tensor at a time: the same bytes as the library's, and nothing outside."""

from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from arriero.model.weights.lazy import held
from arriero.model.weights.tensor_files import (
    INDEX,
    open_tensors,
    weights_identity,
    write_file,
    write_tensors,
)
from arriero.records import UserError


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "b.weight": torch.randn(5, 7, generator=generator),
        "a.weight": torch.randn(6, generator=generator).half(),
        "c.weight": torch.randn(3, 1, generator=generator).bfloat16(),
        "empty": torch.zeros(0, 4),
        "ä": torch.tensor([1.5]),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tensors(tmp_path, {name: held(tensor) for name, tensor in tensors().items()})
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        open_tensors(folder)
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "theirs", metadata={"format": "pt"})
    write_file(tmp_path / "ours", {name: held(tensor) for name, tensor in tensors().items()})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_round_trip(folder: Path) -> None:
    opened = open_tensors(folder)
    for name, tensor in tensors().items():
        assert opened[name].shape == tuple(tensor.shape)
        assert opened[name].dtype == tensor.dtype
        assert torch.equal(opened[name].read(), tensor)


def test_what_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    tensor = torch.arange(12.0).view(3, 4).T
    write_tensors(tmp_path, {"x": held(tensor)})
    assert torch.equal(load_file(tmp_path / "model.safetensors")["x"], tensor)


def test_shards_hold_no_more_than_their_size(tmp_path: Path) -> None:
    weights = {f"w{number}": torch.full((10,), float(number)) for number in range(5)}
    weights["wide"] = torch.zeros(50)
    write_tensors(tmp_path, {name: held(t) for name, t in weights.items()}, max_shard_size=100)
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 5 * 40 + 200
    # Two of 40 bytes fit into 100; what is larger than a file stands alone.
    files = [sorted(load_file(path)) for path in sorted(tmp_path.glob("*.safetensors"))]
    assert files == [["w0", "w1"], ["w2", "w3"], ["w4"], ["wide"]]
    assert set(index["weight_map"].values()) == {
        f"model-0000{number}-of-00004.safetensors" for number in range(1, 5)
    }
    for name, lazy in open_tensors(tmp_path).items():
        assert torch.equal(lazy.read(), weights[name])


def test_weights_are_known_by_their_hashes(tmp_path: Path) -> None:
    """One file by its own, as a manifest has it; several by all of theirs."""
    weights = {f"w{number}": torch.full((10,), float(number)) for number in range(5)}
    for name in ("one", "several"):
        (tmp_path / name).mkdir()
    write_tensors(tmp_path / "one", {name: held(t) for name, t in weights.items()})
    one = (tmp_path / "one" / "model.safetensors").read_bytes()
    assert weights_identity(tmp_path / "one") == hashlib.sha256(one).hexdigest()
    found: list[str] = []
    for changed in ({}, {"w4": torch.zeros(10)}):
        several = {name: held(t) for name, t in (weights | changed).items()}
        write_tensors(tmp_path / "several", several, max_shard_size=100)
        found.append(weights_identity(tmp_path / "several"))
    assert len({*found, weights_identity(tmp_path / "one")}) == 3
    with pytest.raises(UserError):
        weights_identity(tmp_path / "nothing")


def test_weights_of_before_go(tmp_path: Path) -> None:
    many = {f"w{number}": held(torch.zeros(10)) for number in range(3)}
    write_tensors(tmp_path, many, max_shard_size=40)
    write_tensors(tmp_path, {"x": held(torch.ones(2))})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_weights_of_before_stay_if_the_new_ones_find_no_room(
    tmp_path: Path,
) -> None:
    write_tensors(tmp_path, {"x": held(torch.ones(2))})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = {f"w{number}": held(torch.zeros(2000)) for number in range(3)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match="weights were not written"):
            write_tensors(tmp_path, many, max_shard_size=16_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert torch.equal(open_tensors(tmp_path)["x"].read(), torch.ones(2))


def test_missing_weights(tmp_path: Path) -> None:
    assert "a model folder needs its safetensors weights" in refusal(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert "save its weights as safetensors" in refusal(tmp_path)


@pytest.mark.parametrize("length", [0, 5, 8, 60, -1])
def test_truncated_weights(folder: Path, length: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "damaged weights" in refusal(folder)


@pytest.mark.parametrize("sign", [None, b"{", b"b.weight", b"F32", b"[5,7]", b"0,140", b"}}"])
def test_a_flipped_bit_in_the_header(folder: Path, sign: bytes | None) -> None:
    """It is seen, or gives other names or shapes, which a model then refuses."""
    path = folder / "model.safetensors"
    place = 0 if sign is None else path.read_bytes().index(sign) + len(sign) // 2
    before = {name: lazy.shape for name, lazy in open_tensors(folder).items()}
    content = bytearray(path.read_bytes())
    for bit in range(8):
        content[place] ^= 1 << bit
        path.write_bytes(content)
        try:
            after = {name: lazy.shape for name, lazy in open_tensors(folder).items()}
        except UserError:
            after = None
        assert after != before
        content[place] ^= 1 << bit


def test_a_file_that_shrinks_after_it_was_opened(folder: Path) -> None:
    opened = open_tensors(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match="ends too early"):
        opened["b.weight"].read()


def test_numbers_that_are_no_weights(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3, dtype=torch.int8)}, tmp_path / "model.safetensors")
    assert "x is of type I8" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "sub/outside", "..", "", "."])
def test_an_index_cannot_lead_out_of_the_folder(folder: Path, name: str) -> None:
    save_file({"x": torch.zeros(1)}, folder.parent / "outside")
    (folder / "sub").mkdir()
    save_file({"x": torch.zeros(1)}, folder / "sub" / "outside")
    if name.startswith("/"):
        name = str(folder.parent / "outside")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": name}}))
    line = refusal(folder)
    assert "leads out of the folder" in line or "no such file" in line


def test_a_link_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    save_file({"x": torch.zeros(1)}, outside)
    (folder / "link.safetensors").symlink_to(outside)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "link.safetensors"}}))
    assert "a link out of the folder" in refusal(folder)
    (folder / INDEX).unlink()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside)
    assert "a link out of the folder" in refusal(folder)


def test_the_cache_of_hugging_face_links_to_its_blobs(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0a1b"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file({"x": torch.ones(1)}, blobs / "abcdef")
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs/abcdef"))
    assert torch.equal(open_tensors(snapshot)["x"].read(), torch.ones(1))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": 1}', "\xff"]
)
def test_an_index_that_is_none(folder: Path, text: str) -> None:
    (folder / INDEX).write_text(text, encoding="latin-1")
    assert INDEX in refusal(folder)


def test_an_index_that_names_what_is_not_there(folder: Path) -> None:
    places: dict[str, Any] = {"b.weight": "model.safetensors", "lost": "model.safetensors"}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    assert "lacks lost" in refusal(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"b.weight": "model-2.safetensors"}}))
    assert "model-2.safetensors: no such file" in refusal(folder)
