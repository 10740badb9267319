"""Safetensors in and out, one tensor at a time; nothing in such a file can be executed.

The library checks a file's header when it is opened. Tensors are then read from their place, and
files are written header first, which gives the bytes that the library itself would write.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
from safetensors import SafetensorError

from arriero.model.weights.integrity import sha256
from arriero.model.weights.json_files import read_json, write_json
from arriero.model.weights.lazy import LazyTensor, in_file, memory_of
from arriero.records import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARD_SIZE = 5_000_000_000
"""Bytes of a file above which weights are written in several, as Hugging Face does."""

# In the order in which the library writes them: wide numbers first, so that all of them stand at
# multiples of their width.
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

# safetensors leaves the type of what it opens open.
_open_safely = cast(Any, safetensors).safe_open


def open_tensors(folder: Path) -> dict[str, LazyTensor]:
    """All tensors of a model folder, from one file or from those that an index names.

    Raises:
        UserError: no weights, a damaged file, an index that does not fit or leads out of the
            folder, numbers of a type that is not supported.
    """
    tensors: dict[str, LazyTensor] = {}
    for path, names in _weight_files(folder):
        held = open_file(path)
        if names is None:
            names = held.keys()
        for name in names:
            if name not in held:
                raise UserError(f"{path}: lacks {name}, which {INDEX} places there")
            tensors[name] = held[name]
    return tensors


def weight_paths(folder: Path) -> list[Path]:
    """The safetensors files of a model folder; raises UserError as open_tensors does."""
    return [path for path, _ in _weight_files(folder)]


def weights_identity(folder: Path) -> str:
    """SHA-256 by which the weights of a model folder are known, in hexadecimal.

    That of the file, or of several files' hashes in the order of their names.

    Raises:
        UserError: as open_tensors.
    """
    hashes = [sha256(path) for path in sorted(weight_paths(folder))]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def open_file(path: Path) -> dict[str, LazyTensor]:
    """The tensors of one safetensors file."""
    try:
        with _open_safely(path, framework="pt"):
            pass  # the library has read the header: lengths, names, shapes and places are sound
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged weights ({_one_line(error)})") from None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = cast(dict[str, Any], json.loads(file.read(length)))
    tensors: dict[str, LazyTensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise UserError(
                f"{path}: {name} is of type {entry['dtype']}; "
                f"only {', '.join(_DTYPES)} are supported"
            )
        offset = 8 + length + entry["data_offsets"][0]
        tensors[name] = in_file(path, offset, dtype, tuple(entry["shape"]))
    return tensors


def write_tensors(
    folder: Path, tensors: Mapping[str, LazyTensor], max_shard_size: int = MAX_SHARD_SIZE
) -> None:
    """Write weights into a folder, with an index where one file would grow too large.

    Args:
        folder: has to exist; weights that are there already stay until all new ones are written.
        tensors: what to write, each read when its turn comes.
        max_shard_size: bytes of tensors a file; a tensor that is larger has a file of its own.

    Raises:
        UserError: the system does not take a file (a full disk, say).
    """
    shards = _shards(tensors, max_shard_size)
    files = [SINGLE]
    if len(shards) > 1:
        count = len(shards)
        files = [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    temporary = [folder / f".{file}.tmp" for file in files]
    try:
        for path, names in zip(temporary, shards, strict=True):
            write_file(path, {name: tensors[name] for name in names})
    except BaseException:
        for path in temporary:
            path.unlink(missing_ok=True)
        raise
    for path in [*folder.glob("model*.safetensors"), folder / INDEX]:
        path.unlink(missing_ok=True)
    for path, file in zip(temporary, files, strict=True):
        path.replace(folder / file)
    if len(shards) > 1:
        places = {n: file for file, names in zip(files, shards, strict=True) for n in names}
        total = sum(tensor.num_bytes for tensor in tensors.values())
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def write_file(path: Path, tensors: Mapping[str, LazyTensor]) -> None:
    """Write one safetensors file, a tensor at a time."""
    order = list(_NAMES)
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        tensor = tensors[name]
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.num_bytes],
        }
        offset += tensor.num_bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                # Reading may give a view of something larger, or a tensor on another device.
                file.write(memory_of(tensors[name].read().cpu().contiguous()))
    except OSError as error:
        raise UserError(
            f"{path.parent}: weights were not written ({error.strerror}); make room there and give "
            "the same command again"
        ) from None


def _shards(tensors: Mapping[str, LazyTensor], max_shard_size: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.num_bytes > max_shard_size:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.num_bytes
    return shards


def _weight_files(folder: Path) -> Iterator[tuple[Path, list[str] | None]]:
    """Each file with the names that an index places there; None where there is no index."""
    index = folder / INDEX
    if not index.is_file():
        yield _inside(folder, SINGLE, folder), None
        return
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise UserError(f"{index}: no weight_map; it says which file holds which weight")
    files: dict[str, list[str]] = {}
    for name, file in cast(dict[str, Any], placed).items():
        files.setdefault(str(file), []).append(name)
    for file, names in sorted(files.items()):
        yield _inside(folder, file, index), names


def _inside(folder: Path, name: str, named_by: Path) -> Path:
    """The file of this name in a folder, and nowhere else.

    A link out of the folder is followed in one case: the Hugging Face cache keeps the files of
    `snapshots/REVISION/` in `blobs/` beside `snapshots`.
    """
    if Path(name).name != name:
        raise UserError(f"{named_by}: {name!r} leads out of the folder; weights stand inside it")
    path = folder / name
    if not path.is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        needs = "save its weights as safetensors; pickled ones are not read here" if pickled else ""
        raise UserError(
            f"{path}: no such file; {needs or 'a model folder needs its safetensors weights'}"
        )
    place = path.resolve().parent
    real = folder.resolve()
    if place not in (real, real.parent.parent / "blobs"):
        raise UserError(f"{path}: a link out of the folder; weights stand inside it")
    return path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def total_numbers(tensors: Mapping[str, LazyTensor]) -> int:
    """Numbers in all tensors together."""
    return sum(math.prod(tensor.shape) for tensor in tensors.values())
