"""A tokenised corpus in parts that fit into memory, each with its suffix array kept on disk.

A part is whole documents of one token folder. A document that is longer than a part is cut into
pieces that overlap by as much as the longest match can have, so that no match is lost.

    FOLDER/tokens.bin  starts.npy  shard.json     what `arriero.data.shards` wrote
    FOLDER/suffixes/NNNNN.order                   int32, the suffix array of part NNNNN
    FOLDER/suffixes/NNNNN.json                    what it is of, and its hash; written last
"""

from __future__ import annotations

import bisect
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arriero.corpus.contamination.suffixes import (
    MOST_TOKENS,
    Order,
    Text,
    sorting_bytes,
    suffix_order,
    text_of,
)
from arriero.records import UserError

Say = Callable[[str], None]

FACTS = "shard.json"
_TOKENS, _STARTS = "tokens.bin", "starts.npy"
_CACHE = "suffixes"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TokenFolder:
    """Tokens on disk.

    Attributes:
        name: as the user knows it: its path inside the corpus.
        tokens: [N] uint16 or uint32, mapped; for a look here and there.
        starts: [D] int64, where the documents begin, mapped.
        digest: changes with the tokens and the documents.
    """

    path: Path
    name: str
    tokens: NDArray[np.uint16 | np.uint32]
    starts: NDArray[np.int64]
    digest: str

    def read(self, begin: int, end: int) -> NDArray[np.uint16 | np.uint32]:
        """Tokens `begin` to `end`, copied: mapped, all that was ever read would stay in memory."""
        dtype = self.tokens.dtype
        place = begin * dtype.itemsize
        return np.fromfile(self.path / _TOKENS, dtype, end - begin, offset=place)

    def document_of(self, place: int) -> int:
        """The document that a token belongs to."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1

    def bounds(self, document: int) -> tuple[int, int]:
        """Where a document begins and ends in the tokens."""
        is_last = document + 1 == len(self.starts)
        end = len(self.tokens) if is_last else int(self.starts[document + 1])
        return int(self.starts[document]), end


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens `begin` to `end` of a folder, which are its documents `first` to `last`."""

    begin: int
    end: int
    first: int
    last: int


def open_token_folder(path: Path, name: str) -> TokenFolder:
    """Open what `arriero.data.shards` wrote, with every hash checked.

    Raises:
        UserError: it is damaged.
    """
    from arriero.data.shards import flaw  # imports torch

    if problem := flaw(path):
        raise UserError(f"{path}: {problem}; remove the folder and have its tokens written again")
    facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    dtype = np.dtype(facts["dtype"])
    # An empty file cannot be mapped.
    tokens = (
        np.memmap(path / _TOKENS, dtype=dtype, mode="r") if facts["tokens"] else np.zeros(0, dtype)
    )
    starts = np.load(path / _STARTS, mmap_mode="r")
    hashes = json.dumps([facts["sha256"][name] for name in (_TOKENS, _STARTS)])
    return TokenFolder(path, name, tokens, starts, hashlib.sha256(hashes.encode()).hexdigest())


def most_tokens(memory: float) -> int:
    """Tokens, and documents, of a part whose sorting takes at most `memory` bytes."""
    return int(min(memory / sorting_bytes(), MOST_TOKENS))


def plan_parts(folder: TokenFolder, most: int, longest: int) -> Iterator[Part]:
    """Cut a folder into parts.

    Args:
        most: tokens and documents of a part together.
        longest: tokens of the longest match that is asked for.

    Raises:
        UserError: a document has to be cut, and pieces would be hardly longer than their overlap.
    """
    num_documents, total = len(folder.starts), len(folder.tokens)

    def size_before(document: int) -> int:
        """Tokens and separators before a document."""
        begin = total if document == num_documents else int(folder.starts[document])
        return begin + document

    document = 0
    while document < num_documents:
        limit = size_before(document) + most
        after = bisect.bisect_right(range(num_documents + 1), limit, key=size_before) - 1
        begin, end = folder.bounds(document)
        if after > document:
            yield Part(begin, folder.bounds(after - 1)[1], document, after)
            document = after
            continue
        if most - 1 < 2 * longest:
            raise UserError(
                f"{folder.path}: a document of {end - begin:,} tokens beside samples of "
                f"{longest:,} needs more than --memory allows; allow at least "
                f"{(2 * longest + 1) * sorting_bytes() / 1e9:.3g} GB"
            )
        while begin + most - 1 < end:
            yield Part(begin, begin + most - 1, document, document + 1)
            begin += most - 1 - longest
        yield Part(begin, end, document, document + 1)
        document += 1


def part_starts(folder: TokenFolder, part: Part) -> NDArray[np.int64]:
    """[D] where the documents of a part begin, from the part's first token."""
    starts = np.asarray(folder.starts[part.first : part.last]) - part.begin
    return np.maximum(starts, 0)  # a piece of a document begins where the part does


def sorted_part(folder: TokenFolder, number: int, part: Part, say: Say) -> tuple[Text, Order]:
    """The text of a part and its suffix array: the one that is kept, or a new one, then kept."""
    text = text_of(folder.read(part.begin, part.end), part_starts(folder, part))
    key = {"format": _FORMAT, "tokens": folder.digest, "begin": part.begin, "end": part.end}
    path = folder.path / _CACHE / f"{number:05}.order"
    order = _read(path, key, say)
    if order is None:
        order = suffix_order(text)
        try:
            _write(path, key, order)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            say(f"{path.parent}: not allowed to write; the suffix arrays are not kept")
    return text, order


def drop_others(folder: TokenFolder, num_parts: int) -> None:
    """Remove suffix arrays of parts that there are no longer, and half-written files."""
    kept = {f"{number:05}{ending}" for number in range(num_parts) for ending in (".order", ".json")}
    for path in sorted((folder.path / _CACHE).glob("*")):
        if path.name not in kept:
            try:
                path.unlink(missing_ok=True)
            except PermissionError:
                return


def _read(path: Path, key: dict[str, Any], say: Say) -> Order | None:
    """What is kept, if it is of these tokens and whole."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or "sha256" not in facts:
        say(f"{path.with_suffix('.json')}: damaged; sorting this part again")
        return None
    if {name: facts.get(name) for name in key} != key:
        say(f"{path}: of other tokens or of parts of another size; sorting this part again")
        return None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        say(f"{path}: damaged; sorting this part again")
        return None
    return np.frombuffer(content, "<i4").astype(np.int32, copy=False)


def _write(path: Path, key: dict[str, Any], order: Order) -> None:
    """First the array, then the facts that say it stands; each whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    content = np.ascontiguousarray(order, "<i4").data
    facts = key | {"sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").unlink(missing_ok=True)
    for target, data in (
        (path, content),
        (path.with_suffix(".json"), (json.dumps(facts) + "\n").encode()),
    ):
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
