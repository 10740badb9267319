"""Loss by position in a document, for models of any context (A.2.1).

A model whose context is shorter than the document slides along it: each further part is predicted
from as much of what stands before it as the context holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arriero.equations.logprobs import token_logprobs
from arriero.model.heads import LanguageModel

_ROWS = 16


@torch.inference_mode()
def token_losses(model: LanguageModel, documents: Tensor, window: int, stride: int) -> Tensor:
    """Loss of every token but the first, each predicted from at most `window` tokens before it.

    Args:
        documents: [N, T + 1] ids.
        window: tokens that the model reads at once, its context.
        stride: tokens of each window after the first that are predicted; the others are there to
            be read. The tokens read before a prediction are at least `window - stride + 1`, once
            the document has so many.

    Returns:
        [N, T] float32 on the CPU, nats; entry t is the loss of token t + 1.

    Raises:
        ValueError: the stride is not within the window.
    """
    if not 0 < stride <= window:
        raise ValueError(f"a stride of {stride} in a window of {window}")
    length = documents.shape[1] - 1
    losses = torch.empty(len(documents), length)
    device = model.lm_head.weight.device
    for first in range(0, len(documents), _ROWS):
        rows = documents[first : first + _ROWS].to(device)
        done = 0
        while done < length:
            end = min(length, done + (stride if done else window))
            begin = max(0, end - window)
            hidden = model.model(rows[:, begin:end])[:, done - begin :]
            logprobs = token_logprobs(model.lm_head(hidden), rows[:, done + 1 : end + 1])
            losses[first : first + _ROWS, done:end] = -logprobs.float().cpu()
            done = end
    return losses


def bucket_means(losses: Tensor, num_buckets: int) -> list[float]:
    """Mean loss of `num_buckets` equal stretches of positions.

    Args:
        losses: [N, T]; T a multiple of `num_buckets`.
    """
    return losses.unflatten(1, (num_buckets, -1)).mean(dim=(0, 2)).tolist()


def padded(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ragged documents as one tensor, and which of their predictions count.

    Returns:
        ids [N, T + 1], right padded with 0, and [N, T] bool: whether token t + 1 is there.
    """
    width = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), width, dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.as_tensor(sequence)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return ids, torch.arange(1, width) < lengths[:, None]
