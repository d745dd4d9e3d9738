"""FNIRSI FNB58 and FNB48S: USB meters as HID devices; reports of 64 bytes with four samples each, 100 samples a second.

Source:
    The protocol as read by fnirsi-usb-power-data-logger; layout only. The accuracy is assumed, it is not known to us.
"""

from __future__ import annotations

import os
import select
import struct
import time
from array import array

from edgeprune.errors import MeterFailed
from edgeprune.measuring.meters.address import MeterAddress
from edgeprune.measuring.meters.meter import Meter, MeterReadings
from edgeprune.measuring.meters.sample_clock import SampleClock
from edgeprune.values.power import MeterFacts

REPORT_BYTES, PER_REPORT = 64, 4
PERIOD_S = 0.01
_KEEP_ALIVE_S = 1.0
_SILENCE_S = 2.0
_SAMPLE = struct.Struct("<IIHHBH")
_DATA, _MARK = 0x04, 0xAA


def crc8(data: bytes) -> int:
    """Return the check of a report: polynomial 0x39, begun with 0x42.

    Args:
        data: Bytes 1 to 62.

    Returns:
        One byte.
    """
    crc = 0x42
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x39 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def command(number: int) -> bytes:
    """Return a report that asks for something: 0x81 and 0x82 to begin, 0x83 to go on.

    Args:
        number: Of the command.

    Returns:
        64 bytes.
    """
    body = bytes([number]) + bytes(61)
    return bytes([_MARK]) + body + bytes([crc8(body)])


def decode(report: bytes) -> list[float] | None:
    """Read a report.

    Args:
        report: 64 bytes.

    Returns:
        Four powers in W; an empty list for a report of something else; None if it was damaged.
    """
    if len(report) != REPORT_BYTES or report[0] != _MARK:
        return None
    if report[1] != _DATA:
        return []
    if crc8(report[1:63]) != report[63]:
        return None
    samples = [_SAMPLE.unpack_from(report, 2 + 15 * number) for number in range(PER_REPORT)]
    return [volts * 1e-5 * amps * 1e-5 for volts, amps, *_ in samples]


class Fnb58(Meter):
    """An FNB58 or FNB48S.

    Args:
        address: fnb58:///dev/hidraw0
    """

    stamp_bound_s = 0.01

    def __init__(self, address: MeterAddress) -> None:
        super().__init__(address)
        address.known()
        self._fd: int | None = None
        self._clock = SampleClock(PERIOD_S)
        self._count, self._heard_s, self._asked_s = 0, 0.0, 0.0
        self._rest = b""

    @property
    def facts(self) -> MeterFacts:
        """100 samples a second, in steps of 10 µV and 10 µA."""
        return self.address.adapt(MeterFacts("FNB58", "board", "external", PERIOD_S, PERIOD_S, 0.0, 5e-5, 0.006, 0.005))

    def start(self) -> None:
        """Open it and ask it to begin.

        Raises:
            MeterFailed: It cannot be opened.
        """
        self.stop()
        try:
            self._fd = os.open(self.address.place, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            step = "See whether it is plugged in; a udev rule must let you open it (docs/devices/meters.md)."
            raise MeterFailed(f"{self.address.place} cannot be opened ({error.strerror}).", step) from error
        self._clock, self._count, self._rest = SampleClock(PERIOD_S), 0, b""
        self._heard_s = time.monotonic()
        for number in (0x81, 0x82, 0x82):
            self._write(command(number))
        self._asked_s = time.monotonic()

    def read(self) -> MeterReadings:
        """Return the samples of the next reports.

        Returns:
            The samples.

        Raises:
            MeterFailed: It was not started, or fell silent.
        """
        if self._fd is None:
            raise MeterFailed("The FNB58 was not started.", "Start it.")
        self._keep_alive()
        data = self._receive(0.2)
        arrived = time.monotonic_ns()
        if not data:
            if time.monotonic() - self._heard_s > _SILENCE_S:
                raise MeterFailed("The FNB58 fell silent.", "Plug it in anew.")
            return MeterReadings()
        self._heard_s = time.monotonic()
        self._rest += data
        powers, dropped = self._reports()
        self._count += len(powers) + dropped
        slipped = self._clock.slipped
        times = self._clock.stamp(self._count, len(powers), arrived)
        lost = dropped + self._clock.slipped - slipped
        return MeterReadings(times, array("q", [round(power * 1e9) for power in powers]), lost)

    def _reports(self) -> tuple[list[float], int]:
        powers: list[float] = []
        dropped = 0
        while len(self._rest) >= REPORT_BYTES:
            found = decode(self._rest[:REPORT_BYTES])
            if found is None and self._rest[0] != _MARK:
                self._rest = self._rest[1:]
                continue
            self._rest = self._rest[REPORT_BYTES:]
            dropped += PER_REPORT if found is None else 0
            powers += found or []
        return powers, dropped

    def _keep_alive(self) -> None:
        if time.monotonic() - self._asked_s >= _KEEP_ALIVE_S:
            self._write(command(0x83))
            self._asked_s = time.monotonic()

    def _receive(self, seconds: float) -> bytes:
        assert self._fd is not None
        if not select.select([self._fd], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self._fd, REPORT_BYTES)
        except OSError as error:
            raise MeterFailed(f"The FNB58 is gone ({error.strerror}).", "Plug it in anew.") from error

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        try:
            os.write(self._fd, data)
        except OSError as error:
            raise MeterFailed(f"The FNB58 is gone ({error.strerror}).", "Plug it in anew.") from error

    def stop(self) -> None:
        """Close it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
