"""Tensors in files, a file a rank; torch's own storage reads the same."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from arriero.training.parts import names_in, read_parts, write_parts
from arriero.training.ranks import ALONE

WHOLE = {
    "matrix": torch.arange(35.0).reshape(7, 5),
    "vector": torch.arange(3.0),
    "number": torch.tensor(4.0),
}
OFFSETS = "DCP_SHARDING_INFO"


def empty() -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, -1.0) for name, tensor in WHOLE.items()}


def write_in_pieces(folder: Path) -> list[Path]:
    """As two ranks of one data-parallel share and two tensor-parallel ones would, by hand."""
    matrix = WHOLE["matrix"]
    corners = {(0, 0): (4, 3), (0, 3): (4, 2), (4, 0): (3, 3), (4, 3): (3, 2)}
    paths: list[Path] = []
    for (row, column), (rows, columns) in corners.items():
        piece = matrix[row : row + rows, column : column + columns].contiguous()
        tensors = {"matrix": piece}
        offsets = f'"matrix": {{"saved_offsets": [{row}, {column}]}}'
        if not paths:
            tensors |= {"vector": WHOLE["vector"], "number": WHOLE["number"]}
            offsets += ', "vector": {"saved_offsets": [0]}, "number": {"saved_offsets": []}'
        paths.append(folder / f"rank-{len(paths)}.safetensors")
        save_file(tensors, paths[-1], {"format": "pt", OFFSETS: f"{{{offsets}}}"})
    return paths


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rank-0.safetensors"
    write_parts(path, WHOLE, ALONE)
    assert names_in([path]) == set(WHOLE)
    found = empty()
    read_parts([path], found)
    for name, tensor in WHOLE.items():
        assert torch.equal(found[name], tensor)


def test_pieces_come_together(tmp_path: Path) -> None:
    paths = write_in_pieces(tmp_path)
    for order in (paths, paths[::-1]):
        found = empty()
        read_parts(order, found)
        for name, tensor in WHOLE.items():
            assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_torch_reads_the_same(tmp_path: Path, in_pieces: bool) -> None:
    if in_pieces:
        write_in_pieces(tmp_path)
    else:
        write_parts(tmp_path / "rank-0.safetensors", WHOLE, ALONE)
    found = empty()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(found, storage_reader=HuggingFaceStorageReader(str(tmp_path)), no_dist=True)
    for name, tensor in WHOLE.items():
        assert torch.equal(found[name], tensor)


def test_a_missing_piece_and_another_shape_are_seen(tmp_path: Path) -> None:
    paths = write_in_pieces(tmp_path)
    with pytest.raises(ValueError, match="matrix: a piece of it is missing"):
        read_parts([paths[0], paths[3]], empty())
    with pytest.raises(ValueError, match=r"matrix: \[4, 5\] for \[7, 5\]"):
        read_parts(paths[:2], empty())
    for other in (torch.zeros(7, 6), torch.zeros(8, 5), torch.zeros(7), torch.zeros(7, 5, 1)):
        with pytest.raises(ValueError, match=r"matrix: \[7, 5\] for"):
            read_parts(paths, empty() | {"matrix": other})
