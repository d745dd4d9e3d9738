"""An upper bound of a latency percentile that a finite number of samples can vouch for.

Of n samples, the number beyond the true percentile p is binomial with 1 - p. The largest t with a chance of at most 1 %
that t or fewer samples lie beyond gives the bound: without the t - 1 slowest samples, the slowest one.

Source:
    MLCommons Inference, LoadGen: early stopping for single-stream percentiles, confidence 99 %, tolerance 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.99


def beyond(n: int, percent: int) -> int:
    """Return the largest count of samples beyond a percentile that is too small to happen by chance.

    Args:
        n: Samples.
        percent: Between 1 and 99.

    Returns:
        The largest t with a binomial chance of at most 1 % of t or fewer; 0 if there is none but 0, or not even that.
    """
    share, total, t = 1 - percent / 100, 0.0, -1
    while t < n:
        total += _chance(t + 1, n, share)
        if total > 1 - CONFIDENCE:
            break
        t += 1
    return max(t, 0)


def _chance(k: int, n: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def bound(samples: NDArray[np.float64], percent: int) -> float | None:
    """Return what the percentile does not exceed, with 99 % confidence.

    Args:
        samples: Shape (n,), in any unit.
        percent: Between 1 and 99.

    Returns:
        One of the samples; None where they are too few.
    """
    t = beyond(len(samples), percent)
    return float(np.sort(samples)[len(samples) - t]) if t else None
