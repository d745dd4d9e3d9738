"""Bytes to and from an instrument: a serial port, or a TCP socket."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from abc import ABC, abstractmethod

import serial

from edgeprune.errors import MeterFailed

_READ_BYTES = 1 << 16
CONNECT_S = 3.0
_PLUG = "See whether it is plugged in and switched on."


class Port(ABC):
    """A way to an instrument, open from its making until `close`.

    Args:
        place: For messages.

    Attributes:
        answered_ns: When the first byte after the last `write` was there, by CLOCK_MONOTONIC; 0 until then.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._held = bytearray()
        self.answered_ns = 0

    @abstractmethod
    def _receive(self, seconds: float) -> bytes:
        """Return bytes as soon as there are any, or b"" after `seconds`."""

    @abstractmethod
    def _send(self, data: bytes) -> None:
        """Send bytes."""

    @abstractmethod
    def close(self) -> None:
        """Close it; twice is harmless."""

    def write(self, data: bytes) -> None:
        """Send bytes.

        Args:
            data: All of them.

        Raises:
            MeterFailed: It is gone.
        """
        self.answered_ns = 0
        try:
            self._send(data)
        except OSError as error:
            raise MeterFailed(f"{self.place} takes no more bytes ({error}).", _PLUG) from error

    def read(self, seconds: float) -> bytes:
        """Return bytes as soon as there are any.

        Args:
            seconds: At most to wait.

        Returns:
            Some bytes, or b"" when none came in time.

        Raises:
            MeterFailed: It is gone.
        """
        if self._held:
            data = bytes(self._held)
            self._held.clear()
            return data
        try:
            data = self._receive(seconds)
            self.answered_ns = self.answered_ns or time.monotonic_ns()
            return data
        except OSError as error:
            raise MeterFailed(f"{self.place} is gone ({error}).", _PLUG) from error

    def read_exactly(self, count: int, seconds: float) -> bytes:
        """Return so many bytes.

        Args:
            count: How many.
            seconds: At most to wait for all of them.

        Returns:
            Exactly `count` bytes.

        Raises:
            MeterFailed: They did not come.
        """
        give_up, data = time.monotonic() + seconds, bytearray()
        while len(data) < count:
            left = give_up - time.monotonic()
            if left <= 0:
                raise MeterFailed(f"{self.place} sent {len(data)} of {count} bytes.", _PLUG)
            data += self.read(left)
        self._held += data[count:]
        return bytes(data[:count])

    def read_until(self, end: bytes, seconds: float, most: int = 1 << 16) -> bytes:
        """Return bytes up to a mark.

        Args:
            end: The mark.
            seconds: At most to wait for it.
            most: More bytes than this are no answer.

        Returns:
            Everything before the mark.

        Raises:
            MeterFailed: It did not come.
        """
        give_up, data = time.monotonic() + seconds, bytearray()
        while end not in data:
            left = give_up - time.monotonic()
            if left <= 0 or len(data) > most:
                raise MeterFailed(f"{self.place} did not end its answer {bytes(data[:60])!r}.", _PLUG)
            data += self.read(left)
        answer, _, rest = data.partition(end)
        self._held += rest
        return bytes(answer)

    def drain(self, quiet_s: float = 0.05, seconds: float = 2.0) -> None:
        """Throw away what is still coming, until it is quiet.

        Args:
            quiet_s: Without a byte for so long.
            seconds: At most.
        """
        give_up = time.monotonic() + seconds
        while self.read(quiet_s) and time.monotonic() < give_up:
            continue


class SerialPort(Port):
    """A serial port, ours alone.

    Args:
        path: Of the terminal.
        baud: Bits per second.

    Raises:
        MeterFailed: It cannot be opened.
    """

    def __init__(self, path: str, baud: int) -> None:
        super().__init__(path)
        try:
            self._serial = serial.Serial(path, baud, timeout=0, write_timeout=CONNECT_S, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            step = f"{_PLUG} Your user needs to be in the group that owns it, dialout on most systems."
            raise MeterFailed(f"The serial port {path} cannot be opened ({error}).", step) from error

    def _receive(self, seconds: float) -> bytes:
        if not select.select([self._serial.fileno()], [], [], seconds)[0]:
            return b""
        data: bytes = self._serial.read(_READ_BYTES)
        if not data:
            raise OSError("the line was hung up")
        return data

    def _send(self, data: bytes) -> None:
        self._serial.write(data)

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._serial.close()


class TcpPort(Port):
    """A TCP socket.

    Args:
        place: "host:port".

    Raises:
        MeterFailed: Nobody answers there.
    """

    def __init__(self, place: str) -> None:
        super().__init__(place)
        host, _, port = place.rpartition(":")
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, ValueError) as error:
            raise MeterFailed(f"No instrument answers at {place} ({error}).", _PLUG) from error

    def _receive(self, seconds: float) -> bytes:
        if not select.select([self._socket], [], [], seconds)[0]:
            return b""
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise OSError("the connection was closed")
        return data

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def open_port(place: str, baud: int) -> Port:
    """Open a device file as a serial port, and anything else as "host:port".

    Args:
        place: Of the instrument.
        baud: Of a serial port.

    Returns:
        The open port.
    """
    return SerialPort(place, baud) if place.startswith("/") else TcpPort(place)
