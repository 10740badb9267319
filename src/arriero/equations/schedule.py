"""Learning rates by step, and the warm-up of reward models. Steps count from 0."""

from __future__ import annotations

import math


def cosine_with_warmup(
    step: int, num_steps: int, peak: float, warmup_steps: int, final_share: float = 0.1
) -> float:
    """Linear warm-up to the peak, then half a cosine down to `final_share` of it (section 2.2).

    The first step already learns (peak / warmup_steps), the peak is reached at step
    warmup_steps - 1, the last step has exactly the final share, and so has any later one.

    Args:
        step: 0..num_steps-1.
        num_steps: length of the run.
        peak: highest learning rate.
        warmup_steps: may be 0 (the run starts at the peak) or longer than the run.
        final_share: learning rate of the last step over the peak.

    Worked example, 100 steps, peak 1, warm-up 10: step 0 -> 0.1, 9 and 10 -> 1, 99 -> 0.1.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, num_steps - 1 - warmup_steps))
    share = final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2
    return peak * share


def reward_warmup_steps(num_steps: int) -> int:
    """3% of the steps, rounded up, and at least 5 (section 3.2.2).

    Worked example: 100 -> 5, 1,000 -> 30, 1,001 -> 31.
    """
    return max(5, math.ceil(num_steps * 3 / 100))
