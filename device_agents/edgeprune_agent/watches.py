"""What goes on beside a run that measures: the board's state and power are read, and a line marks the load."""

import os
import time
from typing import Any, Callable, Dict, List, Optional

from edgeprune_agent import timing
from edgeprune_agent.boards.state import StateReader
from edgeprune_agent.events import EventWriter
from edgeprune_agent.marker import marker_for
from edgeprune_agent.power.watch import PowerWatch
from edgeprune_agent.sampler import Sampler

_SLICE_S = 0.1


class Watches:
    """The watching processes of one latency run.

    Args:
        spec: Of the run: `state_period_s`, `power` and `marker`.
        events: Where it is told what they saw.

    Raises:
        NoMarker: The marker's line cannot be driven.
    """

    def __init__(self, spec: Dict[str, Any], events: EventWriter) -> None:
        self._events = events
        self._marker = marker_for(spec["marker"])
        self._state = Sampler(StateReader(worker=os.getpid()).read, spec["state_period_s"])
        self._power: Optional[PowerWatch] = PowerWatch(spec["power"]) if spec["power"] else None

    def first(self) -> None:
        """Wait for the board's state before anything ran."""
        self._tell(self._state.first())

    def look(self) -> None:
        """Take what was seen since; their pipes must not fill."""
        self._tell(self._state.take())
        if self._power is not None:
            self._power.take()

    def mark(self, level: int) -> None:
        """Set the marker's line, if there is one: 1 while the load lasts."""
        if self._marker is not None:
            self._marker.put(level)

    def marks(self) -> List[List[int]]:
        """Return when the line was set, and how far that may be off, ns."""
        return [] if self._marker is None else self._marker.marks

    def close(self) -> None:
        """End them, and tell all."""
        if self._marker is not None:
            self._marker.close()
        self._tell(self._state.close())
        if self._power is not None:
            self._power.tell(self._events)

    def lie_idle(self, seconds: float, stopped: Callable[[], bool]) -> None:
        """Do nothing but look for a while.

        Args:
            seconds: How long.
            stopped: Whether to give up.

        Raises:
            Cancelled: `stopped` said so.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if stopped():
                raise timing.Cancelled
            self.look()
            time.sleep(min(_SLICE_S, max(0.0, until - time.monotonic())))

    def _tell(self, states: List[Dict[str, Any]]) -> None:
        for state in states:
            self._events.put("state", **state)
