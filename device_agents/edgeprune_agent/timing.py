"""Warm up until steady, then time one inference after the other."""

import gc
import time
from array import array
from typing import Any, Callable, Dict, List, NamedTuple

FLUSH_NS = 100000000
"""Samples go to the spool in portions of 100 ms, between two inferences and outside the timed section."""
EVENT_SAMPLES = 4096
"""So many numbers fit into one event, whatever their size."""
_BUFFER_SAMPLES = 1 << 16
_STEADY_RUNS, _STEADY_RATIO = 10, 0.02
_PATIENCE = 4
_SHOWS_RUNS = 10


def _fallback_ns() -> int:
    return int(time.perf_counter() * 1e9)


now_ns = getattr(time, "perf_counter_ns", _fallback_ns)
"""CLOCK_MONOTONIC in nanoseconds; Python 3.6 rounds it to a float's 53 bits."""


class Cancelled(Exception):
    """The run was asked to stop."""


class Sampled(NamedTuple):
    """How the timing went: samples, and runs: those and the ones that were thrown away."""

    samples: int
    runs: int


class Warmup(NamedTuple):
    """How the warm-up went: runs, and whether it ended because the latency was steady."""

    runs: int
    steady: bool


def is_steady(latencies_ns: List[int]) -> bool:
    """Return whether the last ten latencies have the median of the ten before them, to 2 %."""
    if len(latencies_ns) < 2 * _STEADY_RUNS:
        return False
    before = _median(latencies_ns[-2 * _STEADY_RUNS : -_STEADY_RUNS])
    return abs(_median(latencies_ns[-_STEADY_RUNS:]) - before) <= _STEADY_RATIO * before


def _median(values: List[int]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2.0


def warm_up(infer: Callable[[], Any], spec: Dict[str, Any], stopped: Callable[[], bool]) -> Warmup:
    """Run until the latency is steady, or patience ends.

    Args:
        infer: One inference.
        spec: `warmup_s` and `warmup_runs`, the least of both; four times `warmup_s` is the most.
        stopped: Whether to give up.

    Returns:
        The number of runs and whether they became steady.

    Raises:
        Cancelled: `stopped` said so.
    """
    least_ns, most_ns = int(spec["warmup_s"] * 1e9), int(_PATIENCE * spec["warmup_s"] * 1e9)
    recent: List[int] = []
    runs, begin = 0, now_ns()
    while True:
        elapsed = now_ns() - begin
        if runs >= spec["warmup_runs"] and elapsed >= least_ns:
            steady = is_steady(recent)
            if steady or elapsed >= most_ns:
                return Warmup(runs, steady)
        if stopped():
            raise Cancelled
        start = now_ns()
        infer()
        recent.append(now_ns() - start)
        del recent[: -2 * _STEADY_RUNS]
        runs += 1


def sample(
    infer: Callable[[], Any],
    spec: Dict[str, Any],
    deliver: Callable[["array[int]"], None],
    stopped: Callable[[], bool],
) -> Sampled:
    """Time inferences until both duration and count are reached, or the longest duration is.

    Nothing is allocated between two readings of the clock, and the collector is off, so that a sample holds one
    inference and the clock's own time (about 0.1 µs). Delivering cools the caches, so one inference is thrown away
    after it, unless inferences take so long that this does not show.

    Args:
        infer: One inference.
        spec: `min_duration_s`, `min_runs`, `max_duration_s`, and `period_s`: from the begin of one inference to the
            next, idle between; 0 for one right after the other.
        deliver: Takes the latencies in ns, in order, in portions of about 100 ms.
        stopped: Whether to give up.

    Returns:
        The number of samples, and of all runs.

    Raises:
        Cancelled: `stopped` said so; what was measured has been delivered.
    """
    least_ns, most_ns = int(spec["min_duration_s"] * 1e9), int(spec["max_duration_s"] * 1e9)
    least_runs, buffer, clock = spec["min_runs"], array("q", bytes(8 * _BUFFER_SAMPLES)), now_ns
    period_ns = int(spec["period_s"] * 1e9)
    total = filled = 0
    untimed = 1
    gc.collect()
    gc.disable()
    try:
        infer()
        begin = flushed = due = clock()
        while True:
            if period_ns:
                due = _wait_until(due + period_ns)
            start = clock()
            infer()
            end = clock()
            buffer[filled] = end - start
            filled += 1
            over = end - begin >= most_ns or (end - begin >= least_ns and total + filled >= least_runs)
            if over or end - flushed >= FLUSH_NS or filled == _BUFFER_SAMPLES or stopped():
                deliver(buffer[:filled])
                if over:
                    return Sampled(total + filled, total + filled + untimed)
                if stopped():
                    raise Cancelled
                if filled >= _SHOWS_RUNS and not period_ns:
                    infer()
                    untimed += 1
                total, filled, flushed = total + filled, 0, clock()
    finally:
        gc.enable()


def _wait_until(due_ns: int) -> int:
    # One that is late begins at once, and the next one counts from there: none is begun twice as fast to catch up.
    left = due_ns - now_ns()
    if left <= 0:
        return due_ns - left
    time.sleep(left / 1e9)
    return due_ns
