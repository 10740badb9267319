"""How much goes through a model at once: sequences of like length, a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# On a CPU what stays in its cache is fastest; a GPU wants to be filled (its bound is a guess, not
# measured on one).
_TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 16_384}


def batches(lengths: Sequence[int], device: torch.device) -> Iterator[slice]:
    """Neighbours that go through the model together, each batch small with its padding.

    Args:
        lengths: tokens of each sequence, best in ascending order: a batch is as wide as its
            longest.
        device: whose batches are wanted; a sequence longer than its bound goes alone.
    """
    most = _TOKENS_AT_ONCE.get(device.type, _TOKENS_AT_ONCE["cpu"])
    begin, width = 0, 0
    for end, length in enumerate(lengths):
        width = max(width, length)
        if end > begin and (end + 1 - begin) * width > most:
            yield slice(begin, end)
            begin, width = end, length
    if lengths:
        yield slice(begin, len(lengths))


def dealt(lengths: Sequence[int], device: torch.device, number: int, count: int) -> list[list[int]]:
    """The batches of one of several processes that go through a model at the same pace.

    Each process takes every `count`-th sequence, so that all have as much to do, and gets as many
    batches as the one with most: what it lacks is an empty batch.

    Args:
        lengths, device: as in `batches`.
        number: which of the processes, from 0.
        count: processes.

    Returns:
        Places of sequences, a list a batch.
    """
    of_all = [list(batches(lengths[begin::count], device)) for begin in range(count)]
    places = range(number, len(lengths), count)
    own = [list(places[part]) for part in of_all[number]]
    return own + [[] for _ in range(max(map(len, of_all)) - len(own))]


def padded(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Sequences in one batch: ids [B, T] with 0 after the end, and lengths [B], on the CPU.

    A causal model gives every real token what it would get alone.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tokens = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = torch.tensor(list(sequence))
    return tokens, lengths
