"""A tokenised corpus on disk: one flat memory-mapped array and where its documents begin.

The order of training rows follows from the seed alone, so a resumed run needs no saved position
beyond the step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from arriero.data.packing import PackedBatch
from arriero.records import UserError
from arriero.tokenizer.tokenizer import Tokenizer

_CHUNK = 2_000


def write_shard(texts: Iterable[str], tokenizer: Tokenizer, folder: Path) -> int:
    """Tokenise documents as BOS + text + EOS into `folder`; returns the number of tokens.

    Where a vocabulary has no BOS, a document begins with the EOS that separates documents.

    Raises:
        UserError: there is no text at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    starts: list[int] = []
    total = 0
    with (folder / "tokens.bin").open("wb") as file:
        for chunk in _chunks(texts):
            for ids in tokenizer.encode_batch(chunk):
                starts.append(total)
                row = np.asarray([tokenizer.start_id, *ids, tokenizer.eos_id], dtype)
                file.write(row.tobytes())
                total += len(row)
    if not starts:
        raise UserError("the corpus holds no text; name files or folders with documents in them")
    np.save(folder / "starts.npy", np.asarray(starts, np.int64))
    facts = {"dtype": np.dtype(dtype).name, "tokens": total, "documents": len(starts)}
    # Last and whole: with this file the shard stands.
    temporary = folder / ".shard.json.tmp"
    temporary.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    temporary.replace(folder / "shard.json")
    return total


class Shard:
    """Rows of a fixed length cut from the tokenised corpus.

    Args:
        folder: what write_shard wrote.
        row_length: T, tokens a row that are predicted.
    """

    def __init__(self, folder: Path, row_length: int) -> None:
        facts = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
        self.tokens = np.memmap(folder / "tokens.bin", dtype=facts["dtype"], mode="r")
        starts: NDArray[np.int64] = np.load(folder / "starts.npy")
        self.row_length = row_length
        # Each row holds T + 1 tokens and gives T predictions; rows overlap by one token.
        self.num_rows = (len(self.tokens) - 1) // row_length
        self._starts = starts
        if self.num_rows < 1:
            raise UserError(
                f"the corpus has {len(self.tokens)} tokens, fewer than one row of {row_length}"
            )

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
    rows: list[int] = []
    position = step * rows_per_step
    while len(rows) < rows_per_step:
        epoch, offset = divmod(position, num_rows)
        order = np.random.default_rng((seed, epoch)).permutation(num_rows)
        taken = order[offset : offset + rows_per_step - len(rows)]
        rows.extend(int(row) for row in taken)
        position += len(taken)
    return rows


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
