"""The loss of next-token prediction over packed rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arriero.data.packing import PackedBatch
from arriero.model.heads import LanguageModel

_LOSS_CHUNK = 4096


def packed_loss_sum(model: LanguageModel, batch: PackedBatch, device: torch.device) -> Tensor:
    """Summed cross-entropy of a packed batch's counted targets; a scalar."""
    return model.token_loss_sum(
        batch.tokens.to(device),
        batch.targets.to(device),
        batch.loss_mask.to(device),
        positions=batch.positions.to(device),
        segments=batch.segments.to(device),
        chunk=_LOSS_CHUNK,
    )


@torch.no_grad()
def mean_loss(
    model: LanguageModel, batches: Sequence[PackedBatch], device: torch.device
) -> float | None:
    """Loss a token over all batches together; None if they hold no target."""
    total = sum(float(packed_loss_sum(model, batch, device)) for batch in batches)
    count = sum(batch.num_targets for batch in batches)
    return total / count if count else None
