"""PyTorch's .pth files, one tensor at a time, and never anything but tensors.

A .pth is a zip archive of a pickle and the numbers. Reading: the pickle is opened with
`weights_only`, which builds tensors and refuses all else, on the meta device, which reads no
numbers; those are read from their place when they are asked for. Writing: `torch.save` lays out
the archive and leaves room for the numbers, which are then filled in with their checksums.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from arriero.model.weights.lazy import LazyTensor, in_file, memory_of
from arriero.records import UserError

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def open_pth(path: Path) -> dict[str, LazyTensor]:
    """The tensors of a .pth file.

    Raises:
        UserError: it is damaged, or holds more than a table of tensors (code, say, none of which
            is run).
    """
    try:
        loaded: Any = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except UnpicklingError:
        raise UserError(
            f"{path}: holds more than tensors, such as code; it was refused, and none of it was run"
        ) from None
    except Exception as error:  # a pickle that is no pickle fails in every way there is
        reason = str(error).strip().partition("\n")[0][:100]
        raise UserError(f"{path}: damaged weights ({reason})") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds no table of weights")
    tensors: dict[str, LazyTensor] = {}
    for name, tensor in cast(dict[Any, Any], loaded).items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path}: {name!r} is no tensor")
        tensors[name] = _placed(path, name, tensor)
    return tensors


def _placed(path: Path, name: str, tensor: Tensor) -> LazyTensor:
    """A tensor by its place; several may lie in one storage, and need not fill it."""
    if tensor.dtype not in _DTYPES:
        raise UserError(f"{path}: {name} is of type {tensor.dtype}, which is not supported")
    first = int(tensor.storage_offset()) * tensor.itemsize
    if not tensor.is_contiguous() or first + tensor.nbytes > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}: {name} does not lie in one piece")
    start = _start(tensor) + first
    if start + tensor.nbytes > path.stat().st_size:
        raise UserError(f"{path}: damaged weights ({name} would end behind the file)")
    return in_file(path, start, tensor.dtype, tuple(tensor.shape))


def _start(tensor: Tensor) -> int:
    """Where in its file the storage of a tensor begins that was loaded to the meta device."""
    return cast(int, cast(Any, tensor.untyped_storage())._checkpoint_offset)


class PthWriter:
    """A .pth file that is filled a tensor at a time."""

    def __init__(self, path: Path, tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]):
        """Lay out the file for tensors of these names, shapes and types; `close` has to follow."""
        with FakeTensorMode():
            empty = {
                name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in tensors.items()
            }
        try:
            with torch.serialization.skip_data(materialize_fake_tensors=True):
                torch.save(empty, path)
            placed: Any = torch.load(path, map_location="meta", weights_only=True, mmap=True)
        except RuntimeError as error:
            raise _not_written(path, error) from None
        self._starts = {name: _start(tensor) for name, tensor in placed.items()}
        self._checksums: dict[int, int] = {}
        self._path = path
        self._file = path.open("r+b")

    def write(self, name: str, tensor: Tensor) -> None:
        """Put a tensor's numbers into their place."""
        numbers = memory_of(tensor.contiguous())
        start = self._starts[name]
        try:
            self._file.seek(start)
            self._file.write(numbers)
        except OSError as error:
            raise _not_written(self._path, error) from None
        self._checksums[start] = zlib.crc32(numbers)

    def finish(self) -> None:
        """Put the checksums in, so that every program that reads zip archives can read it."""
        with zipfile.ZipFile(self._path) as archive:
            entries, at = archive.infolist(), archive.start_dir
        for entry in entries:
            self._file.seek(entry.header_offset + 26)
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", self._file.read(4)))
            self._file.seek(at + 28)
            lengths = struct.unpack("<HHH", self._file.read(6))
            if start in self._checksums:
                checksum = struct.pack("<I", self._checksums[start])
                # Once in the archive's directory, once behind the numbers, after four signs.
                for place in (at + 16, start + entry.file_size + 4):
                    self._file.seek(place)
                    self._file.write(checksum)
            at += 46 + sum(lengths)

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()


def _not_written(path: Path, error: Exception) -> UserError:
    reason = str(error).strip().partition("\n")[0][:100]
    return UserError(f"{path}: weights were not written ({reason}); make room there and try again")
