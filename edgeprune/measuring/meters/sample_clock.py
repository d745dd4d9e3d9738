"""When were samples taken that an instrument counts and hands over late and in portions?"""

from __future__ import annotations

from array import array
from collections import deque

_CREEP_RATIO = 1e-4
"""How fast two crystals may drift apart."""
_WATCHED_NS = 1_000_000_000
_SLIP_NS = 5_000_000
"""When all that arrives for a second is later than this, samples were lost that no counter shows."""


class SampleClock:
    """Samples of a fixed rate -> times. Nothing arrives before it was taken, so the earliest arrivals set the clock.

    Args:
        period_s: Between two samples.

    Attributes:
        slipped: Samples that must have been lost unseen.
    """

    def __init__(self, period_s: float) -> None:
        self._period_ns = period_s * 1e9
        self._origin_ns: float | None = None
        self._arrived_ns = self._stamped_ns = 0
        self._lags: deque[tuple[int, float]] = deque()
        self.slipped = 0

    def stamp(self, last: int, count: int, arrived_ns: int) -> array[int]:
        """Return when the newest samples were taken.

        Args:
            last: Number of the last one, lost ones counted.
            count: How many came.
            arrived_ns: When.

        Returns:
            `count` rising times, none in the future.
        """
        origin = self._origin(arrived_ns - last * self._period_ns, arrived_ns)
        times = array("q")
        for back in range(count - 1, -1, -1):
            self._stamped_ns = max(round(origin + (last - back) * self._period_ns), self._stamped_ns + 1)
            times.append(self._stamped_ns)
        return times

    def _origin(self, found_ns: float, arrived_ns: int) -> float:
        if self._origin_ns is None:
            self._origin_ns, self._arrived_ns = found_ns, arrived_ns
        crept = self._origin_ns + _CREEP_RATIO * (arrived_ns - self._arrived_ns)
        self._arrived_ns = arrived_ns
        self._origin_ns = min(found_ns, crept)
        self._watch(found_ns, arrived_ns)
        return self._origin_ns

    def _watch(self, found_ns: float, arrived_ns: int) -> None:
        assert self._origin_ns is not None
        self._lags.append((arrived_ns, found_ns))
        whole = arrived_ns - self._lags[0][0] >= _WATCHED_NS
        while arrived_ns - self._lags[0][0] > _WATCHED_NS:
            self._lags.popleft()
        earliest = min(found for _, found in self._lags)
        if whole and earliest - self._origin_ns > _SLIP_NS:
            self.slipped += round((earliest - self._origin_ns) / self._period_ns)
            self._origin_ns = earliest
