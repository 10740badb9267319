"""A straight line over the logarithm of the amount of data (the trend of Figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Trend(NamedTuple):
    """y = intercept + slope * log2(x), and the share of the variance of y that it explains."""

    intercept: float
    slope: float
    r_squared: float


def log_trend(x: Sequence[float], y: Sequence[float]) -> Trend | None:
    """Least squares of y over log2(x); the slope is what twice as much is worth.

    Args:
        x: positive amounts, such as pairs.
        y: what came of each.

    Returns:
        None where there are not two different amounts. `r_squared` is 1 where y does not vary.

    Worked example: 1/2 at 100, 0.55 at 200 and 0.6 at 400 pairs: a slope of 0.05, R squared 1.
    """
    logs, values = np.log2(np.asarray(x, np.float64)), np.asarray(y, np.float64)
    centred, risen = logs - logs.mean(), values - values.mean()
    spread, variance = float(centred @ centred), float(risen @ risen)
    if spread < 1e-12:
        return None
    slope = float(centred @ risen) / spread
    left = risen - slope * centred
    explained = 1.0 if variance < 1e-24 else 1.0 - float(left @ left) / variance
    return Trend(float(values.mean() - slope * logs.mean()), slope, explained)
