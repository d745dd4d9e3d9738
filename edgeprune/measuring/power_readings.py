"""PowerTrace + LoadWindow -> numpy arrays: which readings lie in the load, in the idle pads, or touch the load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeprune.values.power import LoadWindow, MeterFacts, PowerTrace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Readings:
    """Readings as powers, on a time axis whose zero is the start of the load.

    Attributes:
        ends_s: When each was taken, shape (n,).
        power_w: Mean power since up to `reach_s` before, shape (n,).
        steps_s: Since the reading before, shape (n,).
        meter: Whose they are.
        load: The load.
        align_s: How far `ends_s` may be off.
    """

    ends_s: Floats
    power_w: Floats
    steps_s: Floats
    meter: MeterFacts
    load: LoadWindow
    align_s: float

    @cached_property
    def reach_s(self) -> float:
        """How far before its time a reading may have seen something."""
        if not self.meter.counter:
            return self.meter.width_s
        return self.meter.width_s - self.meter.period_s + float(self.steps_s.max(initial=self.meter.period_s))

    @cached_property
    def interior(self) -> Bools:
        """Which readings saw nothing but the load."""
        return self._within(0.0, self.load.duration_s)

    @cached_property
    def before(self) -> Bools:
        """Which saw nothing but the idle pad before it."""
        return self._within(-self.load.idle_before_s, 0.0)

    @cached_property
    def after(self) -> Bools:
        """Which saw nothing but the idle pad after it."""
        duration = self.load.duration_s
        return self._within(duration, duration + self.load.idle_after_s)

    @cached_property
    def touching(self) -> Bools:
        """All that may have seen any of the load, without a hole, and one step more at either end."""
        margin = self.align_s + self.meter.period_s
        return (self.ends_s > -margin) & (self.ends_s <= self.load.duration_s + self.reach_s + margin)

    def _within(self, begin_s: float, end_s: float) -> Bools:
        return (self.ends_s >= begin_s + self.reach_s + self.align_s) & (self.ends_s <= end_s - self.align_s)


def readings_of(trace: PowerTrace, load: LoadWindow) -> Readings:
    """Return a trace as powers around a load.

    Args:
        trace: At least two readings, in the order of time.
        load: On the same clock.

    Returns:
        The readings; a counter has one less than it was read.
    """
    times = (np.asarray(trace.times_ns, dtype=np.int64) - load.begin_ns).astype(np.float64) * 1e-9
    values = np.asarray(trace.readings, dtype=np.int64)
    steps = np.diff(times, prepend=times[0] - trace.meter.period_s)
    if trace.meter.counter:
        times, steps = times[1:], steps[1:]
        power = np.diff(values).astype(np.float64) * 1e-9 / np.maximum(steps, 1e-9)
    else:
        power = values.astype(np.float64) * 1e-9
    return Readings(times, power, steps, trace.meter, load, trace.clock_bound_s)
