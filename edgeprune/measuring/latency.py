"""Samples of latency -> statistics and a verdict: pure, and the same for the same samples."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprune.measuring.bootstrap import median_interval
from edgeprune.values.measurement import LatencyStats, Repeat
from edgeprune.values.plan import BenchPlan

SAMPLES_NEEDED = {50: 11, 90: 64, 95: 130, 99: 662}
"""Percentile to the samples without which it is not stated.

Source:
    MLCommons Inference Rules, early stopping at 99 % confidence: the smallest n of which at most one lies beyond the
    percentile with a chance of at most 1 %.
"""
MOST_SPREAD_RATIO = 0.10
"""Repeats whose medians lie further apart than this, relative to the smallest one, do not measure the same thing."""
MOST_WIDTH_RATIO = 0.30
"""An interquartile range over this share of the median means that one number does not describe the latency."""
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the numbers can be used.

    Attributes:
        name: One of `edgeprune.values.measurement.VERDICTS`.
        reason: Why, in words; "" for "ok".
    """

    name: str
    reason: str = ""


def latency_stats(repeats: Sequence[Repeat], *, seed: int = 0) -> LatencyStats:
    """Describe the latencies of all repeats.

    Args:
        repeats: At least one, each with at least one sample.
        seed: Of the bootstrap.

    Returns:
        The statistics; percentiles without enough samples are None.
    """
    groups = [np.asarray(repeat.samples_ns, dtype=np.float64) for repeat in repeats]
    samples = np.concatenate(groups)
    median = float(np.median(samples))
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
    )


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


def judge(plan: BenchPlan, repeats: Sequence[Repeat]) -> Verdict:
    """Say whether the repeats carry a number.

    Args:
        plan: How they were meant to be measured.
        repeats: At least one.

    Returns:
        "inconclusive" where evidence is missing, "unstable" where it contradicts itself, else "ok".
    """
    reason = _what_is_missing(plan, repeats)
    if reason:
        return Verdict("inconclusive", reason)
    reason = _what_disagrees(repeats)
    return Verdict("unstable", reason) if reason else Verdict("ok")


def _what_is_missing(plan: BenchPlan, repeats: Sequence[Repeat]) -> str:
    boots, n = len({repeat.boot_id for repeat in repeats}), sum(len(repeat.samples_ns) for repeat in repeats)
    if boots > 1:
        return f"The board was restarted between the repeats: they come from {boots} boots and are not put together."
    if len(repeats) < plan.repeats:
        return f"Only {len(repeats)} of {plan.repeats} repeats were measured."
    if n < plan.min_runs:
        return f"Only {n} of at least {plan.min_runs} runs fitted into {plan.max_duration_s:g} s."
    if n < SAMPLES_NEEDED[50]:
        return f"{n} runs are too few for a median; it takes {SAMPLES_NEEDED[50]}."
    return ""


def _what_disagrees(repeats: Sequence[Repeat]) -> str:
    medians = [float(np.median(np.asarray(repeat.samples_ns))) for repeat in repeats]
    spread = max(medians) / max(min(medians), 1.0) - 1
    if spread > MOST_SPREAD_RATIO:
        return (
            f"The medians of the repeats lie {100 * spread:.0f} % apart; at most {100 * MOST_SPREAD_RATIO:.0f} % is ok."
        )
    lower, median, upper = np.percentile(np.concatenate([np.asarray(r.samples_ns) for r in repeats]), [25, 50, 75])
    width = float(upper - lower) / max(float(median), 1.0)
    if width > MOST_WIDTH_RATIO:
        return (
            f"Half of the samples spread over {100 * width:.0f} % of the median; "
            f"at most {100 * MOST_WIDTH_RATIO:.0f} % is ok."
        )
    return ""
