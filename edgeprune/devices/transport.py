"""Transports move bytes to and from an agent; what the bytes mean is not theirs to know."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from edgeprune_agent import wire

from edgeprune.devices.address import Address
from edgeprune.registry import Registry

TRANSPORTS = Registry(
    "way to a board",
    {
        "local": "edgeprune.devices.local:LocalTransport",
        "ssh": "edgeprune.devices.ssh:SshTransport",
        "ssh+exec": "edgeprune.devices.ssh_exec:SshExecTransport",
        "serial": "edgeprune.devices.serial_link:SerialTransport",
    },
)


class Deadline:
    """A moment on the monotonic clock until which something may take.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self._at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._at


class Transport(ABC):
    """A way to one agent, for one connection: open, then send and receive, then close.

    One thread may send while another receives; `close` may be called at any time and more than once, once no other
    call is going on.
    """

    start_s = 0.0
    """How much longer than usual it may take until the agent has answered."""

    def link(self, session: int) -> wire.Link:
        """Return what makes frames of this transport's bytes.

        Args:
            session: The session's id.

        Returns:
            One for a transport that loses nothing, unless it says otherwise.
        """
        return wire.StreamLink(session)

    @abstractmethod
    def open(self, deadline: Deadline, greeting: bytes = b"") -> None:
        """Start the agent.

        Args:
            deadline: Until when.
            greeting: What it is to hear first, on a link that loses nothing: it waits there until the agent listens.

        Raises:
            ConnectFailed: It cannot be started or reached.
        """

    @abstractmethod
    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send every byte of `data`.

        Args:
            data: What to send.
            deadline: Until when; the link is of no use after it was missed.

        Raises:
            DeviceTimeout: The other side did not take it all in time.
            LinkClosed: The link has ended.
        """

    @abstractmethod
    def receive(self, deadline: Deadline) -> bytes:
        """Return bytes as soon as there are any.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.

        Raises:
            LinkClosed: The link has ended; what the agent said last is in the message.
        """

    @abstractmethod
    def close(self) -> None:
        """End the link and leave nothing behind: no process, no descriptor."""


def make_transport(address: Address) -> Transport:
    """Return the transport of an address, not yet opened.

    Args:
        address: Of the board.

    Returns:
        The transport.
    """
    transport: Transport = TRANSPORTS.load(address.scheme)(address)
    return transport
