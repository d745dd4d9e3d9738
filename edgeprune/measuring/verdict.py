"""Repeats -> whether their numbers can be used: pure, and the same for the same evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeprune.measuring import evidence
from edgeprune.measuring.latency import SAMPLES_NEEDED, minute_medians_s
from edgeprune.measuring.layers import fallback
from edgeprune.values.measurement import Repeat
from edgeprune.values.plan import BenchPlan

MOST_SPREAD_RATIO = 0.10
"""Repeats whose medians lie further apart than this, relative to the smallest one, do not measure the same thing."""
MOST_WIDTH_RATIO = 0.30
"""An interquartile range over this share of the median means that one number does not describe the latency."""
MOST_WAIT_RATIO = 0.05
"""A worker that waits for a processor for more of its time than this is disturbed."""
MOST_CLOCK_RATIO = 0.05
"""Clocks that differ by more than this, relative to the highest one, were not pinned."""
MOST_FALLBACK_RATIO = 0.01
"""Runtimes put the arithmetic of shapes on the CPU by intent; more of the time than this is none."""
MOST_LATE_RATIO = 0.05
"""At a given rate, so many inferences may take longer than the time between two of them."""
_SHARED = 0.5
"""Where waiting cannot be read: half a processor too few for the threads is a load."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the numbers can be used.

    Attributes:
        name: One of `edgeprune.values.measurement.VERDICTS`.
        reason: Why, in words; "" for "ok".
    """

    name: str
    reason: str = ""


def judge(plan: BenchPlan, repeats: Sequence[Repeat]) -> Verdict:
    """Say whether the repeats carry a number.

    Args:
        plan: How they were meant to be measured.
        repeats: At least one.

    Returns:
        The gravest verdict that fits, with the reasons of all: "inconclusive" where evidence is missing or the board
        was loaded, "fallback_cpu" where nodes ran on the CPU that were not to, "throttled" and "clocks_unpinned" by
        what was read during the runs, "unstable" where samples or load contradict one number, else "ok".
    """
    checks: dict[str, Callable[[], str]] = {
        "inconclusive": lambda: _what_is_missing(plan, repeats) or _what_loads(plan, repeats),
        "fallback_cpu": lambda: _what_falls_back(plan, repeats),
        "throttled": lambda: _what_throttles(repeats),
        "clocks_unpinned": lambda: "" if plan.rate_hz else _what_moves_clocks(repeats),
        "unstable": lambda: _what_disagrees(repeats) or _what_drifts(plan, repeats) or _what_disturbs(repeats),
    }
    reasons = {name: reason for name, check in checks.items() if (reason := check())}
    return Verdict(next(iter(reasons), "ok"), " ".join(reasons.values()))


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
    return _what_is_late(plan, repeats)


def _what_is_late(plan: BenchPlan, repeats: Sequence[Repeat]) -> str:
    if not plan.rate_hz:
        return ""
    late = float(np.mean(np.concatenate([np.asarray(repeat.samples_ns) for repeat in repeats]) > 1e9 / plan.rate_hz))
    if late <= MOST_LATE_RATIO:
        return ""
    return (
        f"The board cannot keep {plan.rate_hz:g} inferences a second: {100 * late:.0f} % took longer than their share."
    )


def _what_loads(plan: BenchPlan, repeats: Sequence[Repeat]) -> str:
    if plan.max_wait_ratio >= 1:
        return ""
    waited, others = evidence.waited_ratio(repeats), evidence.others_cores(repeats)
    if waited is not None and waited > plan.max_wait_ratio:
        return f"The board was loaded: the worker waited for a processor for {100 * waited:.0f} % of its time."
    cpus = next((state.cpus for repeat in repeats for state in repeat.board), 0)
    if waited is None and others is not None and cpus - others < plan.threads - _SHARED:
        return f"The board was loaded: others kept {others:.1f} of {cpus} processors busy."
    return ""


def _what_disturbs(repeats: Sequence[Repeat]) -> str:
    waited = evidence.waited_ratio(repeats)
    if waited is None or waited <= MOST_WAIT_RATIO:
        return ""
    return (
        f"The worker waited for a processor for {100 * waited:.0f} % of its time; "
        f"at most {100 * MOST_WAIT_RATIO:.0f} % is ok."
    )


def _what_falls_back(plan: BenchPlan, repeats: Sequence[Repeat]) -> str:
    if plan.provider.lower() in ("auto", "cpu"):
        return ""
    used = {provider for repeat in repeats for provider in repeat.providers}
    if plan.provider.lower() not in {provider.lower() for provider in used}:
        return f"{plan.provider} was asked for, but the session runs on {', '.join(sorted(used))}."
    layers = next((repeat.footprint.layers for repeat in repeats if repeat.footprint), ())
    nodes, share = fallback(layers)
    if share <= MOST_FALLBACK_RATIO:
        return ""
    return f"{nodes} of {len(layers)} nodes ran on the CPU instead of {plan.provider}, {100 * share:.0f} % of the time."


def _what_throttles(repeats: Sequence[Repeat]) -> str:
    found = evidence.throttling(repeats)
    return f"The board lowered its clocks while it was measured: {found}." if found else ""


def _what_moves_clocks(repeats: Sequence[Repeat]) -> str:
    clocks = evidence.clocks_hz(repeats)
    if clocks is None or clocks[0] >= (1 - MOST_CLOCK_RATIO) * clocks[1]:
        return ""
    return f"The processor's clock moved between {clocks[0] / 1e9:.2f} and {clocks[1] / 1e9:.2f} GHz."


def _what_drifts(plan: BenchPlan, repeats: Sequence[Repeat]) -> str:
    groups = [minute_medians_s(np.asarray(repeat.samples_ns, np.float64), plan.rate_hz) for repeat in repeats]
    for medians in filter(None, groups):
        spread = max(medians) / min(medians) - 1
        if spread > MOST_SPREAD_RATIO:
            return (
                f"The medians of the minutes lie {100 * spread:.0f} % apart; "
                f"at most {100 * MOST_SPREAD_RATIO:.0f} % is ok."
            )
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
