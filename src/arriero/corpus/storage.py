"""Files of a corpus: rows in zstd, arrays, JSON; each appears whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import zstandard
from numpy.typing import DTypeLike, NDArray

_LEVEL = 3


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that gets its name when everything is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def row_writer(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Takes rows for a `.jsonl.zst`; the same rows make the same bytes."""
    compressor = zstandard.ZstdCompressor(_LEVEL)
    with whole(path) as file, compressor.stream_writer(file, closefd=False) as stream:
        buffered = _Buffered(stream)
        yield buffered.write_row
        buffered.flush()


class _Buffered:
    """Rows in larger pieces: a call of the compressor for each costs more than compressing."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._rows, self._size = stream, list[str](), 0

    def write_row(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False)
        self._rows.append(line)
        self._size += len(line)
        if self._size > 1 << 18:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._stream.write(_encoded("\n".join(self._rows) + "\n"))
            self._rows, self._size = [], 0


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows that `row_writer` wrote."""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        for line in io.TextIOWrapper(io.BufferedReader(stream, 1 << 18), "utf-8", newline="\n"):
            yield json.loads(line)


def write_json(path: Path, value: Any) -> None:
    """A JSON file."""
    with whole(path) as file:
        file.write(_encoded(json.dumps(value, indent=1, ensure_ascii=False) + "\n"))


def read_json(path: Path) -> Any:
    """What `write_json` wrote; None where there is nothing that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """A .npy file."""
    with whole(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


@contextmanager
def array_writer(path: Path, dtype: DTypeLike) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Takes the parts of an array of one dimension for a .npy file, and holds none of them."""
    size, head = 0, {"descr": np.dtype(dtype).str, "fortran_order": False}
    with whole(path) as file:
        np.lib.format.write_array_header_1_0(file, head | {"shape": (0,)})
        begin = file.tell()

        def write(part: NDArray[Any]) -> None:
            nonlocal size
            file.write(part.astype(dtype, copy=False).tobytes())
            size += len(part)

        yield write
        # A head has room for any length of the first dimension.
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, head | {"shape": (size,)})
        if file.tell() != begin:
            raise RuntimeError(f"{path}: the head of an array grew with its length")


def read_array(path: Path) -> NDArray[Any]:
    """What `write_array` wrote, mapped and not loaded."""
    if path.stat().st_size < 256:  # an empty array cannot be mapped
        return np.load(path, allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(*facts: Any) -> str:
    """SHA-256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _encoded(text: str) -> bytes:
    """JSON as UTF-8; halves of a surrogate pair, as a file's name may hold, by their numbers."""
    return text.encode("utf-8", "backslashreplace")
