"""Reads a meter in a thread while a board works, so that none of it is missed."""

from __future__ import annotations

import contextlib
import threading
from array import array

from edgeprune.errors import EdgePruneError, MeterFailed
from edgeprune.measuring.meters.meter import Meter, MeterReadings

_STOP_S = 10.0


class Recorder:
    """One recording of one meter.

    Args:
        meter: Not started.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._times, self._values = array("q"), array("q")
        self._dropped, self._flags = 0, frozenset[str]()
        self._edges: tuple[tuple[int, int], ...] | None = None
        self._failure: EdgePruneError | None = None
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._record, name="edgeprune-meter", daemon=True)

    def start(self) -> None:
        """Start the meter and the thread."""
        self._meter.start()
        self._thread.start()

    def take(self) -> MeterReadings:
        """Hand over what was read since the last call.

        Returns:
            The readings.

        Raises:
            MeterFailed: The meter failed in the middle.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            taken = MeterReadings(self._times, self._values, self._dropped, self._flags, self._edges)
            self._times, self._values = array("q"), array("q")
            self._dropped, self._flags, self._edges = 0, frozenset(), None
        return taken

    def stop(self) -> MeterReadings:
        """End both.

        Returns:
            All that was read and not yet taken.
        """
        self.cancel()
        return self.take()

    def cancel(self) -> None:
        """End both, whatever there is."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        with contextlib.suppress(EdgePruneError):
            self._meter.stop()

    def _record(self) -> None:
        try:
            while not self._over.is_set():
                self._add(self._meter.read())
        except EdgePruneError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001  (whatever a driver's library raises ends the recording, not the run)
            kind = self._meter.address.kind
            self._failure = MeterFailed(f"The driver of {kind} failed ({error!r}).", "Plug the meter in anew.")

    def _add(self, readings: MeterReadings) -> None:
        with self._lock:
            self._times.extend(readings.times_ns)
            self._values.extend(readings.values)
            self._dropped += readings.dropped
            self._flags |= readings.flags
            if readings.edges is not None:
                self._edges = (self._edges or ()) + readings.edges
