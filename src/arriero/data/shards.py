"""A tokenised corpus on disk: one flat memory-mapped array, where its documents begin, and hashes.

The order of training rows follows from the seed alone, so a resumed run needs no saved position
beyond the step.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from arriero.data.packing import PackedBatch
from arriero.records import UserError
from arriero.tokenizer.tokenizer import Tokenizer

_CHUNK = 2_000
_TOKENS, _STARTS, _FACTS = "tokens.bin", "starts.npy", "shard.json"


def write_shard(texts: Iterable[str], tokenizer: Tokenizer, folder: Path) -> int:
    """Tokenise documents as BOS + text + EOS into `folder`; returns the number of tokens.

    Where a vocabulary has no BOS, a document begins with the EOS that separates documents.

    Raises:
        UserError: there is no text at all.
    """
    documents = (
        [tokenizer.start_id, *ids, tokenizer.eos_id]
        for chunk in _chunks(texts)
        for ids in tokenizer.encode_batch(chunk)
    )
    return write_tokens(documents, tokenizer.vocab_size, folder)


def write_tokens(documents: Iterable[Sequence[int]], vocab_size: int, folder: Path) -> int:
    """Write documents that are ids already; returns the number of tokens.

    Raises:
        UserError: there is no document at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A shard that is written again does not stand while it is.
    (folder / _FACTS).unlink(missing_ok=True)
    dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
    starts: list[int] = []
    total = 0
    digest = hashlib.sha256()
    with (folder / _TOKENS).open("wb") as file:
        for ids in documents:
            starts.append(total)
            row = np.asarray(ids, dtype).tobytes()
            file.write(row)
            digest.update(row)
            total += len(ids)
    if not starts:
        raise UserError("the corpus holds no text; name files or folders with documents in them")
    np.save(folder / _STARTS, np.asarray(starts, np.int64))
    facts = {
        "dtype": np.dtype(dtype).name,
        "tokens": total,
        "documents": len(starts),
        "sha256": {_TOKENS: digest.hexdigest(), _STARTS: _sha256(folder / _STARTS)},
    }
    # Last and whole: with this file the shard stands.
    temporary = folder / f".{_FACTS}.tmp"
    temporary.write_text(_written(facts), encoding="utf-8")
    temporary.replace(folder / _FACTS)
    return total


def is_written(folder: Path) -> bool:
    """Whether `write_shard` came to its end there."""
    return (folder / _FACTS).exists()


def flaw(folder: Path) -> str:
    """What is no longer as `write_shard` left it, in a few words; "" if all is.

    Reads every byte: a gigabyte takes about a second.
    """
    try:
        facts = _facts(folder)
        if (folder / _FACTS).read_text(encoding="utf-8") != _written(facts):
            return f"{_FACTS} is not as it was written"
        hashes = facts["sha256"]
        for name in (_TOKENS, _STARTS):
            if _sha256(folder / name) != hashes[name]:
                return f"{name} does not have its hash any more"
        size = facts["tokens"] * np.dtype(facts["dtype"]).itemsize
        num_documents = len(np.load(folder / _STARTS, mmap_mode="r"))
        if (size, facts["documents"]) != ((folder / _TOKENS).stat().st_size, num_documents):
            return f"{_FACTS} tells of other tokens"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, OverflowError):
        return f"{_FACTS} is not as it was written"
    return ""


class Shard:
    """Rows of a fixed length cut from the tokenised corpus.

    Args:
        folder: what write_shard wrote.
        row_length: T, tokens a row that are predicted.
        name: what it is called in an error.

    Raises:
        UserError: it has not even one row, or not the length that it was written with.
    """

    def __init__(self, folder: Path, row_length: int, name: str = "the corpus") -> None:
        facts = _facts(folder)
        path, expected = folder / _TOKENS, facts["tokens"] * np.dtype(facts["dtype"]).itemsize
        # Reading past the end of a mapped file would kill the process.
        if (size := path.stat().st_size) != expected:
            raise UserError(
                f"{path} has {size:,} bytes and should have {expected:,}; remove {folder} and give "
                "the same command again: the corpus is tokenised anew"
            )
        self.tokens = np.memmap(path, dtype=facts["dtype"], mode="r")
        starts: NDArray[np.int64] = np.load(folder / _STARTS, mmap_mode="r")
        self.row_length = row_length
        # Each row holds T + 1 tokens and gives T predictions; rows overlap by one token.
        self.num_rows = (len(self.tokens) - 1) // row_length
        self._starts = starts
        if self.num_rows < 1:
            raise UserError(
                f"{name} has {len(self.tokens)} tokens, fewer than one row of {row_length}"
            )

    @property
    def num_documents(self) -> int:
        """Documents of the whole shard."""
        return len(self._starts)

    def batch(self, rows: Iterable[int]) -> PackedBatch:
        """The given rows; documents in a row are segments that do not see each other."""
        width = self.row_length
        columns = np.asarray(list(rows), np.int64)[:, None] * width + np.arange(width + 1)
        ids = self.tokens[columns].astype(np.int64)
        document = np.searchsorted(self._starts, columns, side="right")
        inside = document[:, 1:] == document[:, :-1]
        first = np.maximum(self._starts[document[:, :-1] - 1], columns[:, :1])
        return PackedBatch(
            tokens=torch.from_numpy(ids[:, :-1].copy()),
            segments=torch.from_numpy(document[:, :-1].copy()),
            positions=torch.from_numpy(columns[:, :-1] - first),
            targets=torch.from_numpy(ids[:, 1:].copy()),
            loss_mask=torch.from_numpy(inside),
            last=torch.zeros(0, dtype=torch.int64),
        )


def row_order(num_rows: int, rows_per_step: int, step: int, seed: int) -> list[int]:
    """Rows of training step `step` (from 0): each epoch is a new permutation by the seed.

    A step may reach over the end of an epoch; the order depends on nothing but the arguments.
    """
    return rows_from(num_rows, step * rows_per_step, rows_per_step, seed)


def rows_from(num_rows: int, position: int, count: int, seed: int, stream: int = 0) -> list[int]:
    """The next `count` rows of an endless reading of `num_rows` rows, from `position` on.

    Args:
        stream: readings of other numbers are in other orders.
    """
    rows: list[int] = []
    while len(rows) < count:
        epoch, offset = divmod(position, num_rows)
        order = _reading(num_rows, seed, stream).order(epoch)
        taken = order[offset : offset + count - len(rows)].tolist()
        rows.extend(taken)
        position += len(taken)
    return rows


class _Reading:
    """The orders of some rows, of which the last one asked for is kept.

    Every step asks for it: drawn each time, it would cost a large corpus more than training does.
    Those of epochs gone by are let go of: each is as long as the corpus has rows.
    """

    def __init__(self, num_rows: int, seed: int, stream: int) -> None:
        self._num_rows, self._seed, self._stream = num_rows, seed, stream
        self._epoch = -1
        self._order: NDArray[Any] = np.zeros(0, np.uint8)

    def order(self, epoch: int) -> NDArray[Any]:
        if epoch != self._epoch:
            order = np.random.default_rng((self._seed, epoch, self._stream))
            order = order.permutation(self._num_rows)
            self._order, self._epoch = order.astype(np.min_scalar_type(self._num_rows)), epoch
        return self._order


@functools.lru_cache(maxsize=64)
def _reading(num_rows: int, seed: int, stream: int) -> _Reading:
    return _Reading(num_rows, seed, stream)


def _written(facts: dict[str, Any]) -> str:
    return json.dumps(facts) + "\n"


def _facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _FACTS).read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
