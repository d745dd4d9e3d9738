"""ssh://: the agent at the other end of one SSH channel without a terminal, by a client of our own (paramiko)."""

from __future__ import annotations

import threading

import paramiko
from edgeprune_agent import wire
from paramiko.common import cMSG_CHANNEL_REQUEST

from edgeprune.devices.address import SshAddress
from edgeprune.devices.replies import clean_text
from edgeprune.devices.ssh_auth import ask_password
from edgeprune.devices.ssh_config import look_up
from edgeprune.devices.ssh_connect import Link, Links, errors_named
from edgeprune.devices.ssh_start import SLOW_START_S, AgentStart, start_command
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import DeviceTimeout, LinkClosed

_READ_BYTES = 256 * 1024
_PACKET_BYTES = 32 * 1024 - 64
"""What OpenSSH takes in one packet; what is longer would be cut, and its rest copied again and again."""
_FRAME_BYTES = 8 * _PACKET_BYTES
"""A frame with its length; the default one would end in a packet of a few bytes."""
_LAST_WORDS_BYTES = 64 * 1024
_LOGIN_S = 15.0
_AGAIN = "Connect again."


class SshTransport(Transport):
    """One channel to an agent on a board. Where the address says so, the user is asked for a password at once.

    Args:
        address: Of the board.
    """

    start_s = SLOW_START_S

    def __init__(self, address: SshAddress) -> None:
        self._address = address
        self._links = Links()
        self._link: Link | None = None
        self._channel: paramiko.Channel | None = None
        self._arrived = threading.Event()
        self._start = AgentStart(self.send, self._receive)
        self._last_words = bytearray()
        if address.ask_password:
            ask_password(look_up(address))

    def link(self, session: int) -> wire.Link:
        """Return a link whose frames fill SSH packets; see `Transport`.

        Args:
            session: The session's id.

        Returns:
            The link.
        """
        link = wire.StreamLink(session)
        link.max_frame = _FRAME_BYTES - wire.STREAM_COST
        return link

    def open(self, deadline: Deadline, greeting: bytes = b"") -> None:
        """Log in and have the agent started; see `Transport`.

        Args:
            deadline: Until when.
            greeting: Goes out with the command.
        """
        host = look_up(self._address)
        way = Deadline(min(_LOGIN_S, deadline.remaining_s))
        with self._links.cut_at(way), errors_named(host, way):
            self._link = self._links.log_in(host, way)
            channel = self._link.transport.open_session()
            for buffer in (channel.in_buffer, channel.in_stderr_buffer):
                buffer.set_event(self._arrived)
            _execute(channel, start_command(self._address, greeting))
        self._channel = channel

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send to the agent's standard input; see `Transport`.

        Args:
            data: What to send.
            deadline: Until when.

        Raises:
            DeviceTimeout: The board did not take it all in time.
            LinkClosed: The link has ended.
        """
        link, channel = self._opened()
        link.socket.deadline = deadline
        try:
            for start in range(0, len(data), _PACKET_BYTES):
                self._send_packet(channel, data[start : start + _PACKET_BYTES], deadline)
        except TimeoutError as error:
            raise DeviceTimeout("The board does not take what it is sent.", _AGAIN) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            if deadline.expired:
                raise DeviceTimeout("The board does not take what it is sent.", _AGAIN) from error
            raise self._ended(channel) from error
        finally:
            link.socket.deadline = None

    def _send_packet(self, channel: paramiko.Channel, packet: bytes, deadline: Deadline) -> None:
        while packet:
            channel.settimeout(deadline.remaining_s)
            sent = channel.send(packet)
            if not sent:
                raise self._ended(channel)
            packet = packet[sent:]

    def receive(self, deadline: Deadline) -> bytes:
        """Return from the agent's standard output; see `Transport`.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.
        """
        return self._start.receive(deadline)

    def _receive(self, deadline: Deadline) -> bytes:
        _, channel = self._opened()
        while True:
            self._arrived.clear()
            over = channel.eof_received or channel.closed  # looked at first: what came before the end is still read
            self._listen(channel)
            if channel.recv_ready():
                return bytes(channel.recv(_READ_BYTES))
            if over:
                raise self._ended(channel)
            if not self._arrived.wait(deadline.remaining_s):
                return b""

    def _listen(self, channel: paramiko.Channel) -> None:
        # Only the end of what the agent says on standard error is kept.
        while channel.recv_stderr_ready():
            self._last_words += channel.recv_stderr(_READ_BYTES)
            del self._last_words[:-_LAST_WORDS_BYTES]

    def _ended(self, channel: paramiko.Channel) -> LinkClosed:
        self._listen(channel)
        lines = [clean_text(line) for line in self._last_words.decode("utf-8", "replace").strip().splitlines()]
        return LinkClosed(" ".join([_what_ended(channel), *lines[-1:]]), _AGAIN)

    def _opened(self) -> tuple[Link, paramiko.Channel]:
        if self._link is None or self._channel is None:
            raise LinkClosed("The link to the agent is closed.", _AGAIN)
        return self._link, self._channel

    def close(self) -> None:
        """End the connection, and with it the agent; see `Transport`."""
        self._link = self._channel = None
        self._start.over = True
        self._links.close()


def _what_ended(channel: paramiko.Channel) -> str:
    if not channel.event_ready and channel.transport.is_active():
        return "The board runs no commands for this login."
    return "The agent ended." if channel.eof_received else "The connection to the board was lost."


def _execute(channel: paramiko.Channel, command: str) -> None:
    """Ask for a command to be run; unlike `exec_command`, do not wait for the reply: a refusal closes the channel."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    channel.transport._send_user_message(message)
