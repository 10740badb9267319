"""The tensors of a run in files, a file a rank, and back into a run of any other ranks.

The format is that of torch.distributed.checkpoint's safetensors storage, which can read it: a part
of a tensor stands under the tensor's name, and the file says where in the whole it begins. Ranks
need not talk to one another to write or to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from arriero.training.parallel import local_part
from arriero.training.ranks import Ranks

_OFFSETS = "DCP_SHARDING_INFO"


@dataclass(frozen=True, slots=True)
class _Block:
    """Where a part of a tensor begins in the whole, and its size, a dimension each."""

    begin: tuple[int, ...]
    size: tuple[int, ...]

    def meets(self, other: _Block) -> _Block | None:
        """What two blocks have in common, in the whole's places."""
        begin = tuple(map(max, self.begin, other.begin))
        ends = map(min, self.ends, other.ends)
        size = tuple(end - first for first, end in zip(begin, ends, strict=True))
        return _Block(begin, size) if all(length > 0 for length in size) else None

    @property
    def ends(self) -> tuple[int, ...]:
        """First places behind the block."""
        return tuple(begin + size for begin, size in zip(self.begin, self.size, strict=True))

    def inside(self, other: _Block) -> tuple[slice, ...]:
        """The places of this block, counted from where the other begins."""
        return tuple(
            slice(begin - first, begin - first + size)
            for begin, size, first in zip(self.begin, self.size, other.begin, strict=True)
        )


def write_parts(path: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Write what this rank answers for; of copies on several ranks one is written.

    Raises:
        OSError, SafetensorError: the system does not take the file.
    """
    parts: dict[str, Tensor] = {}
    offsets: dict[str, Any] = {}
    for name, tensor in tensors.items():
        part = local_part(tensor)
        if _is_ours(tensor, ranks) and part.numel():
            parts[name] = part.detach().cpu().contiguous()
            offsets[name] = {"saved_offsets": list(_block_of(tensor).begin)}
    save_file(parts, path, {"format": "pt", _OFFSETS: json.dumps(offsets)})


def names_in(paths: Sequence[Path]) -> set[str]:
    """The tensors that parts of stand in these files."""
    return {name for path in paths for name in _blocks_in(path)}


def read_parts(paths: Sequence[Path], tensors: Mapping[str, Tensor]) -> None:
    """Fill this rank's parts of the tensors, in place, from all files of a checkpoint.

    Raises:
        ValueError: a tensor of another shape, with nothing filled yet, or one of which a piece is
            missing.
    """
    held = {path: _blocks_in(path) for path in paths}
    for name, tensor in tensors.items():
        ends = [blocks[name].ends for blocks in held.values() if name in blocks]
        shape = [max(places) for places in zip(*ends, strict=True)]
        if shape != list(tensor.shape):
            raise ValueError(f"{name}: {shape} for {list(tensor.shape)}")
    missing = {name: local_part(tensor).numel() for name, tensor in tensors.items()}
    for path, blocks in held.items():
        with safe_open(path, "pt") as file:
            for name, block in blocks.items():
                wanted = _block_of(tensors[name])
                common = block.meets(wanted)
                if common is None:
                    continue
                # A number has no slices.
                whole = not common.size
                found = (
                    file.get_tensor(name) if whole else file.get_slice(name)[common.inside(block)]
                )
                room = local_part(tensors[name])
                room[common.inside(wanted)] = found.to(room.device)
                missing[name] -= found.numel()
    if lacking := [name for name, number in missing.items() if number]:
        raise ValueError(f"{lacking[0]}: a piece of it is missing")


def _blocks_in(path: Path) -> dict[str, _Block]:
    """By tensor, which part of it stands in a file."""
    blocks: dict[str, _Block] = {}
    with safe_open(path, "pt") as file:
        offsets: dict[str, Any] = json.loads((file.metadata() or {}).get(_OFFSETS, "{}"))
        for name in file.keys():  # noqa: SIM118 - it is no dict
            size = tuple(file.get_slice(name).get_shape())
            begin = offsets[name]["saved_offsets"] if name in offsets else [0] * len(size)
            blocks[name] = _Block(tuple(begin), size)
    return blocks


def _block_of(tensor: Tensor) -> _Block:
    """The place of this rank's part in the whole."""
    begin, size = [0] * tensor.ndim, list(tensor.shape)
    if isinstance(tensor, DTensor):
        mesh = tensor.device_mesh
        coordinate = mesh.get_coordinate()
        assert coordinate is not None
        # As parallel.own_part cuts: matrices first, then what a rank has of them, in even chunks.
        for place in reversed(range(mesh.ndim)):
            dim = getattr(tensor.placements[place], "dim", None)  # None where it is not cut
            if dim is not None:
                chunk = -(-size[dim] // mesh.size(place))
                skipped = min(chunk * coordinate[place], size[dim])
                begin[dim] += skipped
                size[dim] = min(chunk, size[dim] - skipped)
    return _Block(tuple(begin), tuple(size))


def _is_ours(tensor: Tensor, ranks: Ranks) -> bool:
    """Whether this rank is the first of those that have the same part of a tensor."""
    if ranks.mesh is None or not isinstance(tensor, DTensor):
        return ranks.is_first
    names = tensor.device_mesh.mesh_dim_names or ()
    cut = {
        name
        for name, placement in zip(names, tensor.placements, strict=True)
        if not placement.is_replicate()
    }
    whole = set(ranks.mesh.mesh_dim_names or ()) - cut
    return all(ranks.mesh.get_local_rank(name) == 0 for name in whole)
