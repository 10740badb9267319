"""Cross-entropy of the next token, summed (sections 2.2 and 3.1).

Sums, not means: the caller divides by the number of valid tokens over all micro-batches and
ranks, so that neither accumulation nor world size changes the loss.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from arriero.equations.masked import at_least_float32


def token_loss_sum(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Sum of -ln p(target) over the masked positions, in float32.

    Args:
        logits: [N, V]; row n predicts `targets[n]`.
        targets: [N] integers; anything where the mask is False.
        mask: [N] bool; True where the target counts (on answers only in section 3.1).

    Returns:
        Scalar, nats; 0, with a gradient of 0, for an empty mask.

    Worked example: two masked rows of equal logits over V = 4: 2 ln 4 = 2.7726.
    """
    rows = mask.nonzero().squeeze(-1)
    return F.cross_entropy(at_least_float32(logits[rows]), targets[rows], reduction="sum")
