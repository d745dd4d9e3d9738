"""Meters that answer questions: asked once a period, a little out of step, and stamped half-way to the first byte."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from array import array

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.meter import Meter, MeterReadings
from edgeprune.measuring.meters.port import Port, open_port

_SLOW_S = 0.02
_JITTER_RATIO = 0.2
"""Readings that kept step with the inferences would always see the same part of them."""


class PollingMeter(Meter):
    """A meter behind a port that gives one power per question.

    Args:
        address: Device file or "host:port".
    """

    baud = 9600

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        self._port: Port | None = None
        self._due_s = 0.0

    @abstractmethod
    def greet(self, port: Port) -> None:
        """Find out whether it is such an instrument.

        Raises:
            MeterFailed: It is another one.
        """

    @abstractmethod
    def power_w(self, port: Port) -> float | None:
        """Ask for one power.

        Returns:
            W; None for an answer that was damaged on its way.
        """

    def start(self) -> None:
        """Open the port and greet."""
        self.stop()
        port = open_port(self.address.place, int(self.address.number("baud", self.baud, 300, 12e6)))
        try:
            port.drain(0.02, 0.5)
            self.greet(port)
        except BaseException:
            port.close()
            raise
        self._port, self.stamp_bound_s = port, Meter.stamp_bound_s
        self._due_s = time.monotonic()

    def read(self) -> MeterReadings:
        """Ask once.

        Returns:
            One reading, or one that was lost.

        Raises:
            MeterFailed: It is not open, gone, or does not answer.
        """
        if self._port is None:
            raise MeterFailed(f"{self.address.kind} was not started.", "Start it.")
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        period_s = self.facts.period_s
        begin = time.monotonic_ns()
        power = self.power_w(self._port)
        half_ns = (self._port.answered_ns - begin) // 2
        behind_s = max(self._due_s, time.monotonic() - period_s)
        self._due_s = behind_s + period_s * (1 + _JITTER_RATIO * random.uniform(-1, 1))
        if power is None:
            return MeterReadings(dropped=1)
        if half_ns * 1e-9 > _SLOW_S + period_s / 4:  # this machine slept; nobody knows when it was measured
            return MeterReadings()
        self.stamp_bound_s = max(self.stamp_bound_s, half_ns * 1e-9)
        return MeterReadings(array("q", [begin + half_ns]), array("q", [round(power * 1e9)]))

    def stop(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()
