"""The power of a board that lies idle, runs inferences, and lies idle again: known exactly, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PowerCurve:
    """Power over the board's own time.

    Each inference takes `busy_w` for the first part of its time and `light_w` for the rest, as one that computes first
    and then moves data.

    Attributes:
        idle_w: Before the load.
        busy_w: In the first part of an inference,
        light_w: and in the rest of it.
        begin_s: When the load begins.
        ends_s: When each inference ends, from `begin_s` on, shape (runs,).
        busy_ratio: Share of the first part.
        warming_w: How much the load's power rises from its begin to its end.
        after_w: How much more than before the board takes when it lies idle again.
    """

    idle_w: float
    busy_w: float
    light_w: float
    begin_s: float
    ends_s: Floats = field(repr=False)
    busy_ratio: float = 0.6
    warming_w: float = 0.0
    after_w: float = 0.0

    @property
    def runs(self) -> int:
        """Number of inferences."""
        return len(self.ends_s)

    @property
    def end_s(self) -> float:
        """When the load ends."""
        return self.begin_s + float(self.ends_s[-1])

    @property
    def gross_j(self) -> float:
        """What is taken from the begin of the load to its end."""
        begin, end = self.taken_j(np.array([self.begin_s, self.end_s]))
        return float(end - begin)

    def taken_j(self, at_s: Floats) -> Floats:
        """Return the energy taken since time 0.

        Args:
            at_s: Moments, any shape.

        Returns:
            J, of the same shape.
        """
        duration = float(self.ends_s[-1])
        loaded = np.clip(at_s - self.begin_s, 0.0, duration)
        starts = np.concatenate([[0.0], self.ends_s])
        run = np.clip(np.searchsorted(starts, loaded, side="right") - 1, 0, self.runs - 1)
        busy_s = self.busy_ratio * (
            starts[run] + np.minimum((loaded - starts[run]) / self.busy_ratio, _length(starts, run))
        )
        added = (self.light_w - self.idle_w) * loaded + (self.busy_w - self.light_w) * busy_s
        warming = self.warming_w * loaded**2 / (2 * duration)
        later = self.after_w * np.maximum(at_s - self.end_s, 0.0)
        energy: Floats = self.idle_w * at_s + added + warming + later
        return energy


def _length(starts: Floats, run: NDArray[np.int64]) -> Floats:
    length: Floats = starts[run + 1] - starts[run]
    return length


def steady_runs(duration_s: float, run_s: float, source: np.random.Generator, jitter_ratio: float = 0.01) -> Floats:
    """Return when inferences end that follow each other and take about the same time.

    Args:
        duration_s: At least so long in all.
        run_s: One of them, on average.
        source: Of the jitter.
        jitter_ratio: Standard deviation of one, relative.

    Returns:
        Shape (runs,), from the first one's begin on.
    """
    count = int(np.ceil(duration_s / run_s * (1 + jitter_ratio))) + 1
    lengths = run_s * np.maximum(1 + jitter_ratio * source.standard_normal(count), 0.1)
    ends: Floats = np.cumsum(lengths)
    return ends
