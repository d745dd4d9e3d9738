"""Samples of latency -> statistics: pure, and the same for the same samples."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprune.measuring import early_stopping
from edgeprune.measuring.bootstrap import median_interval
from edgeprune.values.measurement import LatencyStats, Repeat

SAMPLES_NEEDED = {50: 11, 90: 64, 95: 130, 99: 662}
"""Percentile to the samples without which it is not stated.

Source:
    MLCommons Inference Rules, early stopping at 99 % confidence: the smallest n of which at most one lies beyond the
    percentile with a chance of at most 1 %.
"""
_NS = 1e-9
_MINUTE_NS = 60e9


def latency_stats(repeats: Sequence[Repeat], *, seed: int = 0, rate_hz: float = 0.0) -> LatencyStats:
    """Describe the latencies of all repeats.

    Args:
        repeats: At least one, each with at least one sample.
        seed: Of the bootstrap.
        rate_hz: Of the plan: how many inferences a second were begun; 0 for one right after the other.

    Returns:
        The statistics; percentiles without enough samples are None.
    """
    groups = [np.asarray(repeat.samples_ns, dtype=np.float64) for repeat in repeats]
    samples = np.concatenate(groups)
    median = float(np.median(samples))
    footprint = next((repeat.footprint for repeat in repeats if repeat.footprint), None)
    low, high = median_interval(groups, seed=seed)
    mean = float(samples.mean())
    return LatencyStats(
        n=len(samples),
        p50_s=median * _NS,
        p50_ci_s=(low * _NS, high * _NS),
        p90_s=percentile_s(samples, 90),
        p95_s=percentile_s(samples, 95),
        p99_s=percentile_s(samples, 99),
        mean_s=mean * _NS,
        min_s=float(samples.min()) * _NS,
        max_s=float(samples.max()) * _NS,
        cv_ratio=float(samples.std(ddof=1)) / mean if len(samples) > 1 and mean else 0.0,
        mad_s=float(np.median(np.abs(samples - median))) * _NS,
        n_outliers=count_outliers(samples),
        load_s=float(np.median([repeat.load_ns for repeat in repeats])) * _NS,
        first_run_s=float(np.median([repeat.first_run_ns for repeat in repeats])) * _NS,
        samples_ns=_joined(repeats),
        repeat_p50_s=tuple(float(np.median(group)) * _NS for group in groups),
        minute_p50_s=tuple(median for group in groups for median in minute_medians_s(group, rate_hz)),
        p90_bound_s=_bound_s(samples, 90),
        p95_bound_s=_bound_s(samples, 95),
        p99_bound_s=_bound_s(samples, 99),
        first_load_s=footprint.first_load_ns * _NS if footprint else None,
        warm_load_s=footprint.warm_load_ns * _NS if footprint else None,
    )


def _bound_s(samples: NDArray[np.float64], percent: int) -> float | None:
    bound = early_stopping.bound(samples, percent)
    return None if bound is None else bound * _NS


def minute_medians_s(samples_ns: NDArray[np.float64], rate_hz: float = 0.0) -> list[float]:
    """Return the median of each full minute of a repeat.

    Time is counted by the samples themselves, so writing them down between two of them is left out.

    Args:
        samples_ns: Of one process, shape (n,), nanoseconds.
        rate_hz: Inferences begun a second; 0 for one right after the other.

    Returns:
        Seconds, one per minute that is full.
    """
    steps = np.maximum(samples_ns, 1e9 / rate_hz) if rate_hz else samples_ns
    ends = np.cumsum(steps)
    full = int(ends[-1] // _MINUTE_NS)
    minutes = np.searchsorted(ends - steps, _MINUTE_NS * np.arange(full + 1))
    parts = [samples_ns[start:end] for start, end in itertools.pairwise(minutes)]
    return [float(np.median(part)) * _NS for part in parts if len(part)]


def _joined(repeats: Sequence[Repeat]) -> array[int]:
    joined = array("q")
    for repeat in repeats:
        joined.extend(repeat.samples_ns)
    return joined


def percentile_s(samples_ns: NDArray[np.float64], percent: int) -> float | None:
    """Return a percentile, or None where there are too few samples to state it.

    Args:
        samples_ns: Shape (n,), nanoseconds.
        percent: A key of `SAMPLES_NEEDED`.

    Returns:
        Seconds, linear between order statistics.
    """
    if len(samples_ns) < SAMPLES_NEEDED[percent]:
        return None
    return float(np.percentile(samples_ns, percent)) * _NS


def count_outliers(samples: NDArray[np.float64]) -> int:
    """Count the samples beyond Tukey's far fences; they stay in every statistic.

    Args:
        samples: Shape (n,).

    Returns:
        How many lie more than 3 interquartile ranges outside the quartiles.

    Source:
        Tukey 1977, "Exploratory Data Analysis", sec. 2E.
    """
    lower, upper = np.percentile(samples, [25, 75])
    reach = 3 * (upper - lower)
    return int(np.count_nonzero((samples < lower - reach) | (samples > upper + reach)))
