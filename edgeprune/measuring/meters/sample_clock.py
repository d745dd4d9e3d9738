"""When were samples taken that an instrument counts and hands over late and in portions?"""

from __future__ import annotations

from array import array

_CREEP_RATIO = 1e-4
"""How fast two crystals may drift apart."""


class SampleClock:
    """Samples of a fixed rate -> times. Nothing arrives before it was taken, so the earliest arrivals set the clock.

    Args:
        period_s: Between two samples.
    """

    def __init__(self, period_s: float) -> None:
        self._period_ns = period_s * 1e9
        self._origin_ns: float | None = None
        self._last_ns = 0

    def stamp(self, last: int, count: int, arrived_ns: int) -> array[int]:
        """Return when the newest samples were taken.

        Args:
            last: Number of the last one, lost ones counted.
            count: How many came.
            arrived_ns: When.

        Returns:
            `count` rising times, none in the future.
        """
        origin = arrived_ns - last * self._period_ns
        if self._origin_ns is not None:
            origin = min(origin, self._origin_ns + _CREEP_RATIO * (arrived_ns - self._last_ns))
        self._origin_ns, self._last_ns = origin, arrived_ns
        return array("q", [round(origin + (last - back) * self._period_ns) for back in range(count - 1, -1, -1)])
