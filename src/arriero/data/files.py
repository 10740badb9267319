"""Finds the files behind what a user named, and reads their bytes line by line.

Plain, gzip and zstd files are told apart by their first bytes, not by their names. Nothing is read
whole: a file passes through in chunks, so that a corpus may be larger than memory.
"""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from arriero.records import UserError

CHUNK_BYTES = 1 << 18
HUB_PREFIX = "hf:"

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PARQUET = b"PAR1"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Files that describe a folder of data and are no data themselves.
_ABOUT_THE_FOLDER = re.compile(
    r"(LICEN[CS]E|SOURCE|README|COPYING|NOTICE|CITATION|CHANGELOG)([-_. ].*)?"
)


def given_paths(paths: Path | str | Sequence[Path | str]) -> list[Path]:
    """What a user named, as a list: one path or several.

    Raises:
        UserError: nothing was named, or a path does not exist.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    if not paths:
        raise UserError("no data was named; give at least one file or folder")
    found = [Path(path) for path in paths]
    for path in found:
        if not is_hub(path) and not path.exists():
            raise UserError(_missing(path))
    return found


def files_of(path: Path) -> list[Path]:
    """The data files of a path: itself, or a folder's files sorted by name, subfolders included.

    In a folder, hidden and binary files are left out, and those that describe it (LICENSE, SOURCE,
    README and the like). A hub id stands for itself.

    Raises:
        UserError: a folder without data files, or something that is neither file nor folder.
    """
    if is_hub(path) or path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} is neither a file nor a folder; name a file of data")
    inside = sorted(path.rglob("*"), key=lambda file: file.relative_to(path).parts)
    files = [file for file in inside if _is_data(file, path)]
    if not files:
        raise UserError(f"{path} holds no data files; put some there or name another folder")
    return files


def is_hub(path: Path) -> bool:
    """Whether a path is a Hugging Face hub id, written `hf:owner/name[/configuration][:split]`."""
    return str(path).startswith(HUB_PREFIX)


def is_parquet(path: Path) -> bool:
    """Whether a file's first bytes are those of a parquet file."""
    return read_start(path, len(_PARQUET)) == _PARQUET


def stem_of(path: Path) -> str:
    """A short name for where rows came from: the file without its endings, after its folder."""
    if is_hub(path):
        return str(path).removeprefix(HUB_PREFIX)
    name = path.name
    while (stem := re.sub(r"\.[A-Za-z]\w{0,8}$", "", name)) and stem != name:
        name = stem
    return f"{path.parent.name}/{name}".removeprefix("/")


def read_head(path: Path, num_bytes: int = 1 << 16) -> bytes:
    """The first bytes of a file's content, after decompression.

    Raises:
        UserError: the file cannot be read, or is no text.
    """
    head = b""
    for chunk in read_chunks(path):
        head += chunk
        if len(head) >= num_bytes:
            break
    head = head[:num_bytes].removeprefix(_BYTE_ORDER_MARK)
    if b"\0" in head:
        raise UserError(f"{path} is no text (nor gzip, zstd or parquet); save it as UTF-8 text")
    return head


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, undecoded line without its end) of a plain, gz or zst file.

    Raises:
        UserError: the file cannot be read, or its compression is damaged.
    """
    number = 0
    rest = b""
    for chunk in read_chunks(path):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _clean_line(line, number)
    if rest:
        yield number + 1, _clean_line(rest, number + 1)


def read_text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Like `read_lines`, decoded.

    Raises:
        UserError: a line is not UTF-8.
    """
    for number, line in read_lines(path):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: {not_utf8(error)}") from error


def not_utf8(error: UnicodeDecodeError) -> str:
    """What to tell a user whose file is in another encoding."""
    byte = error.object[error.start]
    return f"byte 0x{byte:02x} at column {error.start + 1} is not UTF-8; save the file as UTF-8"


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's content in chunks of bytes, decompressed if it is gzip or zstd.

    Raises:
        UserError: the file cannot be read, or its compression is damaged or cut short.
    """
    start = read_start(path, 4)
    try:
        if start.startswith(_GZIP):
            with gzip.open(path) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
            return
        with path.open("rb") as stream:
            if start == _ZSTD:
                yield from _decompress_zstd(stream)
            else:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read whole ({error}); fetch or write it again"
        ) from error


def read_start(path: Path, num_bytes: int) -> bytes:
    """The first bytes of a file as they lie on disk."""
    try:
        with path.open("rb") as stream:
            return stream.read(num_bytes)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be read ({reason}); check its rights") from error


def missing_package(what: str, package: str) -> UserError:
    """The error for an optional package that reading `what` needs."""
    return UserError(f"reading {what} needs {package}; install it with pip install arriero[corpus]")


def _decompress_zstd(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all frames; raise EOFError if the last one is cut short."""
    frame: Any = None
    while chunk := stream.read(CHUNK_BYTES):
        while chunk:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                content = frame.decompress(chunk)
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            if content:
                yield content
            chunk = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("compressed file ended before its end mark")


def _clean_line(line: bytes, number: int) -> bytes:
    line = line.removesuffix(b"\r")
    return line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def _is_data(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    if not file.is_file() or any(part.startswith(".") for part in parts):
        return False
    if describes_folder(file.name):
        return False
    if is_parquet(file):
        return True
    try:
        return bool(read_head(file, 8192))
    except UserError:
        return _looks_compressed(file)


def describes_folder(name: str) -> bool:
    """Whether a file of this name tells about its folder and is no data, such as README."""
    return _ABOUT_THE_FOLDER.fullmatch(name) is not None


def _looks_compressed(file: Path) -> bool:
    """A damaged or unreadable archive is not passed over: the reader names it."""
    return read_start(file, 4).startswith((_GZIP, _ZSTD))


def _missing(path: Path) -> str:
    """Name the first part of a path that is missing, and the nearest name that is there."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    parent = missing.parent
    try:
        names = sorted(child.name for child in parent.iterdir())
    except OSError:
        names = []
    if near := difflib.get_close_matches(missing.name, names, n=1, cutoff=0.5):
        return f"{path} does not exist; did you mean {parent / near[0]}?"
    return f"{path} does not exist; {parent} is the last part of it that does"
