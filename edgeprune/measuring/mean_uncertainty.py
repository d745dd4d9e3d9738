"""How well the mean of a stretch of readings is known, from the readings themselves.

Source:
    JCGM 100:2008 (GUM), 4.2 (type A), annex G.4 (Welch-Satterthwaite, table G.2).
    Widrow and Kollár 2008, "Quantization Noise", ch. 4: what quantization leaves in the mean of a dithered signal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Student's t at 97.5 % for 1 to 20 degrees of freedom."""
_NORMAL = 1.959964
_STRETCHES = 20


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and what is known of it.

    Attributes:
        value: The mean.
        sd: Standard uncertainty of the mean.
        freedom: Its degrees of freedom.
    """

    value: float
    sd: float
    freedom: float


def coverage_factor(freedom: float) -> float:
    """Return the factor from a standard uncertainty to half of a 95 % interval.

    Args:
        freedom: Effective degrees of freedom, cut to a whole number as GUM G.4.1 has it; at least 1 is taken.

    Returns:
        Student's t at 97.5 %.
    """
    whole = max(1, int(min(freedom, 1e9)))
    if whole <= len(_T_QUANTILES):
        return _T_QUANTILES[whole - 1]
    # Cornish-Fisher; to 0.001 from 21 degrees of freedom on.
    z = _NORMAL
    return z + (z**3 + z) / (4 * whole) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * whole**2)


def combine_freedom(parts: list[tuple[float, float]]) -> float:
    """Return the effective degrees of freedom of a sum of variances.

    Args:
        parts: Pairs of a standard uncertainty and its degrees of freedom.

    Returns:
        Welch and Satterthwaite's number; infinite where nothing is uncertain.
    """
    total = sum(sd**2 for sd, _ in parts)
    spread = sum(sd**4 / max(freedom, 1.0) for sd, freedom in parts if math.isfinite(freedom))
    return total**2 / spread if spread > 0 else math.inf


def mean_of(values: Floats, step_s: float, reach_s: float, resolution: float) -> Mean:
    """Return the mean of readings in the order of time.

    They are put together in about twenty stretches, so that what changes slowly counts: a beat between readings and
    inferences, warming. Readings may overlap, as they average for longer than they are apart; a stretch is at least
    twice as long as they reach, and what neighbouring ones still have in common is corrected for.

    Args:
        values: Shape (n,), at least 2.
        step_s: Between two of them.
        reach_s: How far back each reaches.
        resolution: Step of quantization, in the unit of the values.

    Returns:
        The mean.
    """
    overlap = reach_s > 1.2 * step_s
    size = max(math.ceil(2 * reach_s / step_s) if overlap else 1, len(values) // _STRETCHES)
    size = min(size, max(1, len(values) // 2))
    n_stretches = len(values) // size
    stretches = values[: n_stretches * size].reshape(n_stretches, size).mean(axis=1)
    shared = max(0.5, 1 - reach_s / (3 * size * step_s)) if overlap else 1.0
    variance = float(stretches.var(ddof=1)) / n_stretches / shared
    quantum = _quantum_left(float(values.var(ddof=1)), resolution)
    freedom = combine_freedom([(math.sqrt(variance), n_stretches - 1), (quantum, math.inf)])
    return Mean(float(values.mean()), math.hypot(math.sqrt(variance), quantum), freedom)


def _quantum_left(variance: float, resolution: float) -> float:
    # Noise of half a step or more averages the steps away; a quiet signal keeps all of their uncertainty.
    if resolution <= 0:
        return 0.0
    noise = max(variance - resolution**2 / 12, 0.0)
    return resolution / math.sqrt(12) * math.exp(-2 * math.pi**2 * noise / resolution**2)
