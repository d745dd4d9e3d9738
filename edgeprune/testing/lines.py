"""Cables for instruments that are not there: a pty that pyserial opens, or a TCP port. Bytes arrive in odd pieces."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import tty
from abc import ABC, abstractmethod

from edgeprune.testing.background import Background

_TICK_S = 0.002
_READ_BYTES = 4096
_HELD_BYTES = 1 << 16
"""What an instrument keeps that its host does not fetch; more is lost, as over USB."""


class Instrument(ABC):
    """What an instrument says, whatever the cable."""

    @abstractmethod
    def hear(self, data: bytes) -> bytes:
        """Take bytes of the host.

        Args:
            data: Split anywhere.

        Returns:
            What it answers.
        """

    def due(self) -> bytes:
        """Return what it says unasked by now."""
        return b""


class _Line(Background):
    """A cable with an instrument at its end, while its block is entered.

    Args:
        instrument: Which.
        seed: Of how its bytes are split.

    Attributes:
        place: What to open.
    """

    def __init__(self, instrument: Instrument, seed: int = 0) -> None:
        super().__init__()
        self._instrument, self._chance = instrument, random.Random(seed)
        self._held = b""
        self.place = ""

    @abstractmethod
    def _readable(self) -> bytes | None:
        """Return what the host sent within a tick; None where nobody is connected."""

    @abstractmethod
    def _push(self, data: bytes) -> int:
        """Hand some bytes over; return how many were taken."""

    def _work(self) -> None:
        while not self._over.is_set():
            heard = self._readable()
            if heard is None:
                continue
            self._held += self._instrument.hear(heard) if heard else b""
            due = self._instrument.due()
            self._held += due if len(self._held) + len(due) <= _HELD_BYTES else b""
            self._send()

    def _send(self) -> None:
        while self._held:
            piece = self._held[: self._chance.choice((1, 3, 61, 509, 2048))]
            taken = self._push(piece)
            self._held = self._held[taken:]
            if taken < len(piece):
                return


class SerialLine(_Line):
    """A pseudo-terminal; `place` is its device file."""

    def __init__(self, instrument: Instrument, seed: int = 0) -> None:
        super().__init__(instrument, seed)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.place = os.ttyname(self._slave)

    def _readable(self) -> bytes | None:
        if not select.select([self._master], [], [], _TICK_S)[0]:
            return b""
        with contextlib.suppress(OSError):
            return os.read(self._master, _READ_BYTES)
        return b""

    def _push(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class TcpLine(_Line):
    """A TCP server on this machine; `place` is host:port."""

    def __init__(self, instrument: Instrument, seed: int = 0) -> None:
        super().__init__(instrument, seed)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._host: socket.socket | None = None
        self.place = f"127.0.0.1:{self._server.getsockname()[1]}"

    def _readable(self) -> bytes | None:
        if self._host is None:
            if select.select([self._server], [], [], _TICK_S)[0]:
                self._host, _ = self._server.accept()
                self._host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return None
        if not select.select([self._host], [], [], _TICK_S)[0]:
            return b""
        data = self._host.recv(_READ_BYTES)
        if not data:
            self._host.close()
            self._host = None
            return None
        return data

    def _push(self, data: bytes) -> int:
        assert self._host is not None
        try:
            return self._host.send(data)
        except OSError:
            return len(data)

    def _close(self) -> None:
        self._server.close()
        if self._host is not None:
            self._host.close()
