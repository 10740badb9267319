"""Which files a corpus is made of: found, hashed, and put together to units of work.

A unit is the same whatever the number of tasks, so what comes out is too.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import xxhash

from arriero.corpus.config import CorpusRecipe, SourceConfig
from arriero.corpus.readers.items import printable
from arriero.data.files import CHUNK_BYTES, describes_folder, given_paths
from arriero.records import UserError

_ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".warc": "warc",
    ".wet": "warc",
    ".arc": "warc",
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "markdown",
    ".html": "html",
    ".htm": "html",
    ".tar": "tar",
    ".zip": "zip",
}
_COMPRESSED = (".gz", ".zst", ".zstd")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read.

    Attributes:
        name: relative to its source's root.
        format: how it is read; "" for one that is only counted, because of `problem`.
        digest: XXH3 of its bytes, 128 bits.
    """

    path: str
    name: str
    format: str
    size: int
    digest: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """Files of one source that are worked on together; `name` is SOURCE/NNNNN."""

    name: str
    source: str
    files: tuple[InputFile, ...]

    def as_row(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @staticmethod
    def from_row(row: dict[str, Any]) -> Unit:
        """What `as_row` gave."""
        files = tuple(InputFile(**file) for file in row["files"])
        return Unit(row["name"], row["source"], files)


def list_units(recipe: CorpusRecipe) -> list[Unit]:
    """All units in the recipe's order.

    Raises:
        UserError: a path is not there, a source has no file, a named file no known format.
    """
    units: list[Unit] = []
    limit = int(recipe.unit_megabytes * 1e6)
    for name, source in recipe.sources.items():
        files = _files_of(name, source)
        if not any(file.format for file in files):
            why = f" ({files[0].path}: {files[0].problem})" if files else ""
            raise UserError(
                f"source {name}: no file to read{why}; mend sources.{name}.paths or its format"
            )
        for number, group in enumerate(_grouped(files, limit)):
            units.append(Unit(f"{name}/{number:05d}", name, tuple(group)))
    return units


def format_of(name: str) -> str:
    """The format that a file's name tells, compression aside; "" if it tells none.

    >>> format_of("dump-7.jsonl.zst"), format_of("a.tgz"), format_of("picture.png")
    ('jsonl', 'tar', '')
    """
    path = PurePath(name.lower())
    if path.suffix == ".tgz":
        return "tar"
    if path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return _ENDINGS.get(path.suffix, "")


def _grouped(files: Sequence[InputFile], limit: int) -> Iterator[list[InputFile]]:
    group: list[InputFile] = []
    size = 0
    for file in files:
        if group and size + file.size > limit:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    yield group


def _files_of(name: str, source: SourceConfig) -> list[InputFile]:
    found: list[InputFile] = []
    for given in source.paths:
        found += _found(name, source, given)
    seen: dict[str, str] = {}
    for file in found:
        if (other := seen.setdefault(file.name, file.path)) != file.path:
            raise UserError(
                f"source {name}: {other} and {file.path} have one name under their roots; make "
                "them two sources, or name the folder above them"
            )
    if len(seen) < len(found):
        raise UserError(f"source {name}: its paths name a file twice; name each once")
    return found


def _found(source_name: str, source: SourceConfig, given: str) -> list[InputFile]:
    if re.search(r"[*?\[]", given) and not Path(given).exists():
        parts = Path(given).parts
        plain = next(i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
        root = Path(*parts[:plain])
        paths = sorted(Path(path) for path in glob.glob(given, recursive=True))  # noqa: PTH207
        files = [path for path in paths if path.is_file()]
        if not files:
            raise UserError(f"source {source_name}: nothing fits {given}; mend the pattern")
        return [_input(path, root, source, named=False) for path in files]
    try:
        (path,) = given_paths(given)
    except UserError as error:
        raise UserError(f"source {source_name}: {error}") from None
    if path.is_file():
        return [_input(path, path.parent, source, named=True)]
    inside = sorted(path.rglob("*"), key=lambda file: file.relative_to(path).parts)
    return [_input(file, path, source, named=False) for file in inside if _is_meant(file, path)]


def _is_meant(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and not describes_folder(file.name) and (file.is_file() or file.is_symlink())


def _input(path: Path, root: Path, source: SourceConfig, *, named: bool) -> InputFile:
    relative = printable(path.relative_to(root).as_posix())
    # A file that the user named may be a link to anywhere; one that lies in a folder may not.
    if not named and not _stays_inside(path, root):
        return InputFile(str(path), relative, "", 0, "", "a link that leaves its folder")
    form = format_of(path.name)
    if source.format != "auto" and form not in ("tar", "zip"):
        form = source.format
    if not form:
        if named:
            raise UserError(f"{path}: its name tells no format; say format = for its source")
        return InputFile(str(path), relative, "", 0, "", "no known format")
    try:
        size, digest = path.stat().st_size, digest_of(path)
    except OSError as error:
        why = f"not readable ({error.strerror or error})"
        return InputFile(str(path), relative, "", 0, "", why)
    return InputFile(str(path), relative, form, size, digest)


def _stays_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def digest_of(path: Path) -> str:
    """XXH3 of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES * 4):
            digest.update(chunk)
    return digest.hexdigest()
