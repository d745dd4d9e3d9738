"""Nordic Power Profiler Kit II: 100 000 currents a second over USB; supplies the board itself, or measures its ammeter.

It measures no voltage: power is current times the voltage that it was set to, or that the user says.
"""

from __future__ import annotations

import time
from array import array

import numpy as np

from edgeprune.errors import MeterFailed, UnknownName, UsageError
from edgeprune.measuring.meters import ppk2_samples as samples
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.meter import Meter, MeterReadings
from edgeprune.measuring.meters.port import Port, SerialPort
from edgeprune.measuring.meters.sample_clock import SampleClock
from edgeprune.values.power import MeterFacts

_GET_CALIBRATION, _SET_MODE, _SET_RUNNING, _START, _STOP, _SET_VOLTAGE = 0x19, 0x11, 0x0C, 0x06, 0x07, 0x0D
_MODES = {"ampere": 1, "source": 2}
_PER_READING = 100
"""Samples that make one reading of 1 ms: their mean."""
_ANSWER_S, _SILENCE_S = 3.0, 1.0
_MAX_AMPS = 1.0
_INPUTS = 8
_STEP_A = 0.8e-3
"""One step of the highest range."""


class Ppk2(Meter):
    """A PPK2.

    Args:
        address: ppk2:///dev/ttyACM1?mode=source&millivolt=3300; mode=ampere measures what another supply of that
            voltage feeds. Source mode switches the board's supply on, and leaves it on. input=0 says that a line of
            the board, marker=gpiochip0:17, is wired to the input D0.
    """

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known("mode", "millivolt", "input", "marker")
        self._mode = address.options.get("mode", "ampere")
        if self._mode not in _MODES:
            raise UnknownName("mode of the meter ppk2", self._mode, _MODES)
        self._millivolt = int(address.number("millivolt", 5000, 800, 5000))
        self._input = _input(address)
        self.edge_bound_s = None if self._input is None else 1 / samples.RATE_HZ
        self._port: Port | None = None
        self._calibration = samples.Calibration()
        self._forget()

    def _forget(self) -> None:
        self._rest, self._kept = b"", np.empty(0)
        self._expected: int | None = None
        self._filter, self._clock = samples.SpikeFilter(), SampleClock(1 / samples.RATE_HZ)
        self._count, self._heard_s, self._level = 0, time.monotonic(), 0

    @property
    def facts(self) -> MeterFacts:
        """Means of 1 ms; accuracy depends on the range, and is taken for 10 % at most, from memory."""
        volt = self._millivolt / 1000
        return self.address.adapt(
            MeterFacts(
                f"PPK2 at {volt:g} V ({'set' if self._mode == 'source' else 'told'})", "board", "external", 1e-3, 1e-3,
                0.0, _STEP_A * volt, 0.06, 1e-6 * volt,
            )
        )  # fmt: skip

    def start(self) -> None:
        """Stop what a killed session left running, read the calibration, and begin.

        Raises:
            MeterFailed: It is no PPK2.
        """
        self.stop()
        port = SerialPort(self.address.place, 115200)
        try:
            port.write(bytes([_STOP]))
            port.drain()
            port.write(bytes([_GET_CALIBRATION]))
            text = port.read_until(b"END", _ANSWER_S).decode("ascii", "replace")
            if "R0:" not in text:
                raise MeterFailed(f"{port.place} is no PPK2: it has no calibration.", "Try its other port.")
            self._begin(port, samples.read_calibration(text))
        except BaseException:
            port.close()
            raise
        self._port = port

    def _begin(self, port: Port, calibration: samples.Calibration) -> None:
        self._calibration = calibration
        port.write(bytes([_SET_VOLTAGE]) + samples.voltage_bytes(self._millivolt))
        port.write(bytes([_SET_MODE, _MODES[self._mode]]))
        port.write(bytes([_SET_RUNNING, 1]))
        port.drain(0.02)
        port.write(bytes([_START]))
        self._forget()

    def read(self) -> MeterReadings:
        """Return the means of what has come.

        Returns:
            One reading per 1 ms.

        Raises:
            MeterFailed: It was not started, or fell silent.
        """
        if self._port is None:
            raise MeterFailed("The PPK2 was not started.", "Start it.")
        data = self._port.read(0.1)
        arrived = time.monotonic_ns()
        if not data:
            if time.monotonic() - self._heard_s > _SILENCE_S:
                raise MeterFailed("The PPK2 fell silent.", "Plug it in anew.")
            return MeterReadings()
        self._heard_s = time.monotonic()
        return self.take(data, arrived)

    def take(self, data: bytes, arrived_ns: int) -> MeterReadings:
        """Decode bytes.

        Args:
            data: The next bytes, split anywhere.
            arrived_ns: When they came.

        Returns:
            The readings that they complete; lost samples count in readings.
        """
        data = self._rest + data
        whole = len(data) // 4 * 4
        self._rest = data[whole:]
        words = np.frombuffer(data[:whole], dtype="<u4").astype(np.uint32)
        if not len(words):
            return MeterReadings()
        lost = self._lost(words)
        self._count += lost + len(words)
        before = len(self._kept)
        current = self._filter(samples.amps(words, self._calibration), samples.ranges(words))
        self._kept = np.concatenate([self._kept, current])
        count = len(self._kept) // _PER_READING
        means = self._kept[: count * _PER_READING].reshape(count, _PER_READING).mean(axis=1)
        self._kept = self._kept[count * _PER_READING :]
        flags = {"saturated"} if samples.saturated(words) or (means.size and means.max() > _MAX_AMPS) else set()
        slipped = self._clock.slipped
        times = self._clock.stamp(self._count, len(self._kept) + count * _PER_READING, arrived_ns)
        lost += self._clock.slipped - slipped
        ends = times[_PER_READING - 1 : count * _PER_READING : _PER_READING]
        edges = self._edges(words, times[before:])
        values = np.rint(means * self._millivolt * 1e6).astype(np.int64)
        return MeterReadings(ends, array("q", values.tolist()), -(-lost // _PER_READING), frozenset(flags), edges)

    def _edges(self, words: samples.Words, times_ns: array[int]) -> tuple[tuple[int, int], ...] | None:
        if self._input is None:
            return None
        levels = (samples.inputs(words) >> self._input) & 1
        changed = np.flatnonzero(np.diff(levels, prepend=self._level))
        self._level = int(levels[-1])
        return tuple((times_ns[at], int(levels[at])) for at in changed)

    def _lost(self, words: samples.Words) -> int:
        numbers = samples.counters(words)
        expected = np.concatenate([[numbers[0] if self._expected is None else self._expected], (numbers[:-1] + 1) & 63])
        self._expected = int(numbers[-1] + 1) & 63
        return int(((numbers - expected) & 63).sum())

    def stop(self) -> None:
        """Stop measuring and close the port; a board that it feeds stays fed."""
        port, self._port = self._port, None
        if port is None:
            return
        try:
            port.write(bytes([_STOP]))
        except MeterFailed:
            pass
        finally:
            port.close()


def _input(address: MeterAddress) -> int | None:
    if "input" not in address.options:
        return None
    number = address.number("input", 0, 0, _INPUTS - 1)
    if number != int(number):
        raise UsageError(f"input={number} of the meter ppk2 is none of D0 to D{_INPUTS - 1}.", "Give a whole number.")
    return int(number)
