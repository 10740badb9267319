"""Archives: tar and zip files, read member by member and never unpacked.

Nothing is written, so no name inside can lead out of a folder; names that try are counted all the
same, with links and devices, for whoever made them meant something else than data.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, cast

import zstandard

from arriero.corpus.listing import format_of
from arriero.corpus.readers.items import Item, Problem
from arriero.data.files import CHUNK_BYTES, read_start

Read = Callable[[Iterator[bytes], str], Iterator[Item]]

_ZSTD = b"\x28\xb5\x2f\xfd"
_ERRORS = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError,
           NotImplementedError, zlib.error, zstandard.ZstdError)  # fmt: skip
_INSIDE = frozenset(("jsonl", "text", "markdown", "html"))


def tar_members(path: Path, read: Read) -> Iterator[Item]:
    """What `read(chunks, format)` finds in each member; places are MEMBER:PLACE."""
    try:
        with path.open("rb") as file:
            stream: IO[bytes] = file
            if read_start(path, 4) == _ZSTD:
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                stream = cast(IO[bytes], reader)
            with tarfile.open(fileobj=stream, mode="r|*") as archive:
                for member in archive:
                    if member.isdir():
                        continue
                    if not member.isfile():
                        yield Problem("a link or device in an archive", member.name)
                        continue
                    content = archive.extractfile(member)
                    if content is not None:
                        yield from _member(member.name, content, read)
    except _ERRORS as error:
        yield Problem("not readable whole", 0, str(error))


def zip_members(path: Path, read: Read) -> Iterator[Item]:
    """As tar_members, of a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as content:
                        yield from _member(member.filename, content, read)
    except _ERRORS as error:
        yield Problem("not readable whole", 0, str(error))


def _member(name: str, content: IO[bytes], read: Read) -> Iterator[Item]:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        yield Problem("a path in an archive that leads out of it", name)
        return
    form = format_of(name)
    if form not in _INSIDE or name.endswith((".gz", ".zst", ".zstd")):
        yield Problem("no known format", name)
        return
    for item in read(_chunks(content), form):
        yield replace(item, place=f"{name}:{item.place}")


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
