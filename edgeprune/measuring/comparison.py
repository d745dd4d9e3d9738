"""Two measurements -> whether one is slower, both are the same, or nobody can tell.

Processes differ more than the runs within one, so a repeat's median is one observation, and the two groups of medians
are compared as logarithms by Student's t with their pooled variance: in a search both groups were measured in turns, on
one machine, so they share its noise. The interval of the ratio decides:

    it leaves out 1                              slower, or faster
    it holds 1 and is within the resolution      same
    else                                         inconclusive: measure longer, with more repeats, or on a quiet board

So a difference as large as the resolution is overlooked (called "same") in at most 0.25 % of the cases, whatever the
noise, and two runs of one model are called different in 0.5 %, if the medians of processes scatter normally.

Source:
    Schuirmann 1987, "A Comparison of the Two One-Sided Tests Procedure", J. Pharmacokinet. Biopharm. 15(6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import UsageError
from edgeprune.values.measurement import Measurement

RESOLUTION = 0.05
"""Differences smaller than this are not worth more repeats."""
_T = (127.3213, 14.0890, 7.4533, 5.5976, 4.7733, 4.3168, 4.0293, 3.8325, 3.6897, 3.5814)
"""Student's t at 99.75 % for 1 to 10 degrees of freedom."""
_Z = 2.807034


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the latency of one measurement lies to that of another.

    Attributes:
        outcome: "slower", "faster", "same" or "inconclusive".
        ratio: Of the second p50 to the first.
        ratio_ci: 99.5 % interval of it; from 0 to infinity where there is only one repeat each.
        reason: Why it is inconclusive; "" for the others.
    """

    outcome: str
    ratio: float
    ratio_ci: tuple[float, float]
    reason: str = ""


def compare(first: Measurement, second: Measurement, *, resolution: float = RESOLUTION) -> Comparison:
    """Compare the latencies of two measurements on one device.

    Args:
        first: What to compare with.
        second: What may be slower or faster.
        resolution: Of the ratio: a difference that matters, such as 0.05.

    Returns:
        The outcome, for the second one.

    Raises:
        UsageError: They come from two devices, or the resolution is not between 0 and 1.
    """
    if first.device_id != second.device_id:
        raise UsageError("Latencies of two devices cannot be compared.", "Measure both on one of them.")
    if not 0 < resolution < 1:
        raise UsageError("A resolution is a share between 0 and 1.", "Give such as 0.05.")
    found = compare_medians(first.latency.repeat_p50_s, second.latency.repeat_p50_s, resolution)
    for measurement in (first, second):
        if measurement.verdict == "inconclusive":
            return Comparison("inconclusive", found.ratio, found.ratio_ci, measurement.verdict_reason)
    return found


def compare_medians(first: Sequence[float], second: Sequence[float], resolution: float = RESOLUTION) -> Comparison:
    """Compare the medians of repeated processes.

    Args:
        first: One per process, positive, in any unit.
        second: The same of the other model, in the same unit.
        resolution: See `compare`.

    Returns:
        The outcome, for the second one.
    """
    ratio, reach = _log_ratio(np.log(first), np.log(second))
    low, high = math.exp(ratio - reach), math.exp(ratio + reach) if reach < math.inf else math.inf
    outcome = "slower" if low > 1 else "faster" if high < 1 else "same"
    reason = ""
    if outcome == "same" and (low < 1 - resolution or high > 1 + resolution):
        outcome = "inconclusive"
        reason = f"The ratio lies between {low:.3f} and {high:.3f}, which leaves open what {100 * resolution:g} % are."
    return Comparison(outcome, math.exp(ratio), (low, high), reason)


def _log_ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    # The difference of the means, and half the width of its interval.
    difference, freedom = float(second.mean() - first.mean()), len(first) + len(second) - 2
    if freedom < 1:
        return difference, math.inf
    squares = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum())
    error = math.sqrt(squares / freedom * (1 / len(first) + 1 / len(second)))
    return difference, _student(freedom) * error


def _student(freedom: int) -> float:
    # Cornish and Fisher's expansion beyond the table: within 0.02 of the true value there.
    if freedom <= len(_T):
        return _T[freedom - 1]
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
