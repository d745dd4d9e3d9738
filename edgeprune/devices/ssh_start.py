"""The host's side of starting an agent through a login: one command, and the talk with what it starts."""

from __future__ import annotations

import base64
import contextlib
import importlib.resources
import json
import zlib
from collections.abc import Callable
from functools import cache

from edgeprune_agent import wire

from edgeprune.devices import ssh_starter
from edgeprune.devices.address import SshAddress
from edgeprune.devices.agent_file import cached_agent
from edgeprune.devices.replies import clean_text
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, LinkClosed

_PLACES = "python3 /usr/bin/python3 /usr/local/bin/python3 /data/data/com.termux/files/usr/bin/python3"
SLOW_START_S = 45.0
"""A Pi Zero takes seconds to log somebody in and to start Python twice."""
_NEXT_STEP = "Install Python 3.6 or later there; see docs/devices/ssh.md."


def start_command(address: SshAddress, greeting: bytes) -> str:
    """Return the command that a login shell on the board is given: the starter and its order.

    Both travel as letters and digits alone, so that sh, bash, zsh, fish, csh and dash all leave them as they are.

    Args:
        address: Of the board: root and quota of the agent.
        greeting: What the agent is to hear first.

    Returns:
        One line.
    """
    agent = cached_agent()
    which = {"sha": agent.stem, "size": agent.stat().st_size, "heard": _letters(greeting)}
    order = {**which, "root": address.root, "quota": address.quota_bytes}
    search = f'for p in {_PLACES}; do command -v "$p" >/dev/null 2>&1 && exec "$p" -I -u -c "$0" "$1"; done'
    script = f'{search}; echo "There is no python3 for this login." >&2; exit 127'
    return f"exec sh -c '{script}' '{_program()}' '{_letters(json.dumps(order).encode())}'"


@cache
def _program() -> str:
    source = importlib.resources.files("edgeprune.devices").joinpath("ssh_starter.py").read_bytes()
    return f'import base64,zlib;exec(zlib.decompress(base64.b64decode("{_letters(zlib.compress(source, 9))}")))'


def _letters(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class AgentStart:
    """What comes over a channel on which a starter becomes the agent.

    Args:
        send: Sends over the channel,
        receive: and hears from it, both as `Transport` does.

    Attributes:
        over: Whether the agent was heard, or is not waited for any more.
    """

    def __init__(self, send: Callable[[bytes, Deadline], None], receive: Callable[[Deadline], bytes]) -> None:
        self._send, self._receive = send, receive
        self._heard = b""
        self.over = False

    def receive(self, deadline: Deadline) -> bytes:
        """Return what the agent says; at first, all that was heard up to its preamble. See `Transport`.

        Args:
            deadline: Until when to wait.

        Returns:
            At least one byte, or b"" when none came in time.

        Raises:
            ConnectFailed: The agent did not start; the error says what the board said instead.
        """
        if self.over:
            return self._receive(deadline)
        while wire.PREAMBLE not in self._heard and len(self._heard) <= wire.NOISE_BYTES:
            try:
                piece = self._receive(deadline)
            except LinkClosed as error:
                raise ConnectFailed(f"{error.message}{_quote(self._heard)}", _NEXT_STEP) from error
            if not piece:
                break
            self._heard += piece
            self._grant(deadline)
        heard, self._heard = self._heard, b""
        self.over = wire.PREAMBLE in heard
        return heard

    def _grant(self, deadline: Deadline) -> None:
        # The starter's wish is taken out of what was heard.
        before, wish, after = self._heard.partition(ssh_starter.WANTED)
        if wish:
            self._heard = before + after
            with contextlib.suppress(LinkClosed):
                self._send(cached_agent().read_bytes(), deadline)


def _quote(heard: bytes) -> str:
    said = clean_text(heard[-200:].decode("utf-8", "replace"), 200)
    return f" The other side said: {said!r}." if said else ""
