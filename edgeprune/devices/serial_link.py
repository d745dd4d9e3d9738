"""serial://: an agent behind a serial line, be it running there already or typed in through the board's shell."""

from __future__ import annotations

import contextlib
import getpass
import sys

from edgeprune_agent import wire

from edgeprune.devices.address import SerialAddress
from edgeprune.devices.serial_console import Console, agent_bytes
from edgeprune.devices.serial_port import SerialPort
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed, DeviceError, LinkClosed

_SLACK_S = 0.1
"""How much may wait in the port: an urgent frame waits behind it, and without it the line idles when we do."""
_LEAVE = b"\0" + wire.LEAVE_TEXT + b"\0"
_LEAVE_S = 1.0
_LOG_IN_S = 60.0
"""A login, a shell and Python, each started by an emulated board of a busy host."""
_passwords: dict[tuple[str, str], str] = {}
"""Of this process, by port and user: a board that was restarted asks the console again, the user is not."""


class SerialTransport(Transport):
    """Bytes over a serial port; frames may be lost on it, which its link repairs.

    Args:
        address: Of the port.
    """

    def __init__(self, address: SerialAddress) -> None:
        self._address = address
        self._port = SerialPort(address.port, address.baud)
        self._opened = False
        self._link: wire.SerialLink | None = None
        self._heard = b""

    @property
    def start_s(self) -> float:  # type: ignore[override]
        """How long it may take to log in, and to type the agent in on a line that loses every third block."""
        return _LOG_IN_S + 1.5 * agent_bytes(self._address.whole_agent) * 10 / self._address.baud

    def link(self, session: int) -> wire.Link:
        """Return a link that repeats what is lost, and finds the fastest speed.

        Args:
            session: The session's id.

        Returns:
            The link.
        """
        self._link = wire.SerialLink(wire.Climber(self._address.baud, self._address.fastest), session)
        return self._link

    def open(self, deadline: Deadline, greeting: bytes = b"") -> None:
        """Open the port, and find or start the agent; see `Transport`.

        Args:
            deadline: Until when.
            greeting: None: a line that may lead to a shell hears nothing before an agent has answered.

        Raises:
            ConnectFailed: The port or the agent cannot be had.
        """
        agent_bytes(self._address.whole_agent)  # packs the agent before anything waits for it
        self._port.open()
        self._opened = True
        try:
            rest = Console(self._port, self._address, self._ask, deadline).reach_agent()
        except LinkClosed as error:
            raise ConnectFailed(error.message, error.next_step) from error
        self._heard = wire.PREAMBLE + rest

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write to the line, at the speed that its link wants; see `Transport`.

        Args:
            data: What to send.
            deadline: Until when.
        """
        if self._link is not None and self._link.rate != self._port.rate:
            self._port.set_rate(self._link.rate)
        self._port.write(data, deadline)
        self._port.rest(_SLACK_S)

    def receive(self, deadline: Deadline) -> bytes:
        """Read from the line; see `Transport`.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.
        """
        heard, self._heard = self._heard, b""
        return heard or self._port.read(deadline)

    def close(self) -> None:
        """Ask the agent to give the console back, and close the port; see `Transport`."""
        if self._opened:
            self._opened = False
            # Where the line is gone there is nobody to ask: the agent leaves by itself when it hears nothing.
            with contextlib.suppress(DeviceError):
                self._port.write(_LEAVE, Deadline(_LEAVE_S))
                self._port.rest(0.0)
        self._heard = b""
        self._port.close()

    def _ask(self, prompt: str) -> str:
        key = (self._address.port, self._address.login)
        if key not in _passwords:
            if not sys.stdin.isatty():
                raise ConnectFailed("The console asks for a password.", "Run this in a terminal to be asked for it.")
            _passwords[key] = getpass.getpass(prompt)
        return _passwords[key]
