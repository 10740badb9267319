"""Archives: tar and zip files, read member by member and never unpacked.

Nothing is written, so no name inside can lead out of a folder; names that try are counted all the
same, with links and devices, for whoever made them meant something else than data.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tarfile import ReadError
from typing import IO, Self, cast

import zstandard

from arriero.corpus.listing import format_of
from arriero.corpus.readers.items import Item, Problem, printable
from arriero.data.files import CHUNK_BYTES, read_start

Read = Callable[[Iterator[bytes], str], Iterator[Item]]

_ZSTD = b"\x28\xb5\x2f\xfd"
_ERRORS = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError,
           NotImplementedError, zlib.error, zstandard.ZstdError)  # fmt: skip
# Of tarfile, where they have no public names: the mark of the end, and damage.
_END: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]
_DAMAGED: type[Exception] = tarfile.HeaderError
_INSIDE = frozenset(("jsonl", "text", "markdown", "html"))


class _Header(tarfile.TarInfo):
    """A member's header; one that is damaged is an error, where tarfile would see the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """Raises ReadError, unless the header is whole or the mark of the archive's end."""
        try:
            return super().fromtarfile(tarfile)
        except _END:
            raise
        except _DAMAGED as error:
            raise ReadError(str(error) or "it ended before its end mark") from None


def tar_members(path: Path, read: Read) -> Iterator[Item]:
    """What `read(chunks, format)` finds in each member; places are MEMBER:PLACE.

    A second member of one name is MEMBER#2: both are read, and they are two documents.
    """
    names: Counter[str] = Counter()
    try:
        with path.open("rb") as file:
            stream: IO[bytes] = file
            if read_start(path, 4) == _ZSTD:
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                stream = cast(IO[bytes], reader)
            with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as archive:
                while (member := archive.next()) is not None:
                    vars(archive)["members"].clear()  # or it would hold them all
                    if member.isdir():
                        continue
                    if not member.isfile():
                        yield Problem("a link or device in an archive", printable(member.name))
                        continue
                    content = archive.extractfile(member)
                    if content is not None:
                        yield from _member(member.name, content, read, names)
    except _ERRORS as error:
        yield Problem("not readable whole", 0, printable(str(error)))


def zip_members(path: Path, read: Read) -> Iterator[Item]:
    """As tar_members, of a zip file; after a damaged member the others are read."""
    names: Counter[str] = Counter()
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield from _zip_member(archive, member, read, names)
    except _ERRORS as error:
        yield Problem("not readable whole", 0, printable(str(error)))


def _zip_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, read: Read, names: Counter[str]
) -> Iterator[Item]:
    try:
        with archive.open(member) as content:
            yield from _member(member.filename, content, read, names)
    except _ERRORS as error:
        yield Problem("not readable whole", printable(member.filename), printable(str(error)))


def _member(name: str, content: IO[bytes], read: Read, names: Counter[str]) -> Iterator[Item]:
    path, shown = PurePosixPath(name.replace("\\", "/")), printable(name)
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        yield Problem("a path in an archive that leads out of it", shown)
        return
    form = format_of(name)
    if form not in _INSIDE or name.endswith((".gz", ".zst", ".zstd")):
        yield Problem("no known format", shown)
        return
    names[shown] += 1
    if names[shown] > 1:
        shown = f"{shown}#{names[shown]}"
    for item in read(_chunks(content), form):
        yield replace(item, place=f"{shown}:{item.place}")


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
