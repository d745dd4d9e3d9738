"""The host's side of starting an agent through a login: one fixed command, and the talk with what it starts."""

from __future__ import annotations

import base64
import importlib.resources
import json
import zlib
from functools import cache

from edgeprune_agent import wire

from edgeprune.devices import ssh_starter
from edgeprune.devices.address import SshAddress
from edgeprune.devices.agent_file import cached_agent
from edgeprune.devices.replies import clean_text
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import ConnectFailed, LinkClosed

_PLACES = "python3 /usr/bin/python3 /usr/local/bin/python3 /data/data/com.termux/files/usr/bin/python3"
SLOW_START_S = 45.0
"""A Pi Zero takes seconds to log somebody in and to start Python twice."""
_NEXT_STEP = "Install Python 3.6 or later there; see docs/devices/ssh.md."


@cache
def start_command() -> str:
    """Return the command that a login shell on the board is given; the same for every board and user.

    The starter travels packed as letters and digits alone, so that sh, bash, zsh, fish, csh and dash all leave it as
    it is.

    Returns:
        One line.
    """
    source = importlib.resources.files("edgeprune.devices").joinpath("ssh_starter.py").read_bytes()
    packed = base64.b64encode(zlib.compress(source, 9)).decode("ascii")
    program = f'import base64,zlib;exec(zlib.decompress(base64.b64decode("{packed}")))'
    search = f'for p in {_PLACES}; do command -v "$p" >/dev/null 2>&1 && exec "$p" -I -u -c "$0"; done'
    return f"exec sh -c '{search}; echo \"There is no python3 for this login.\" >&2; exit 127' '{program}'"


def start_agent(stream: Transport, address: SshAddress, deadline: Deadline) -> bytes:
    """Have the starter become the agent, and send it the agent if the board does not have it.

    Args:
        stream: To the starter's input and output.
        address: Of the board: root and quota of the agent.
        deadline: Until when.

    Returns:
        What was heard up to now: the agent's preamble is in it.

    Raises:
        ConnectFailed: The agent did not start; the error says what the board said instead.
    """
    agent = cached_agent()
    packed = agent.read_bytes()
    order = {"sha": agent.stem, "size": len(packed), "root": address.root, "quota": address.quota_bytes}
    heard = b""
    stream.send(json.dumps(order).encode("ascii") + b"\n", deadline)
    heard, wanted = _listen(stream, deadline, heard)
    if wanted:
        stream.send(packed, deadline)
        heard, _ = _listen(stream, deadline, heard)
    return heard


def _listen(stream: Transport, deadline: Deadline, heard: bytes) -> tuple[bytes, bool]:
    # Until the preamble, or the starter's wish, which is taken out of what was heard.
    while wire.PREAMBLE not in heard:
        before, wish, after = heard.partition(ssh_starter.WANTED)
        if wish:
            return before + after, True
        if len(heard) > wire.NOISE_BYTES:
            raise ConnectFailed(f"There is no agent.{_quote(heard)}", "See what the board runs at login.")
        try:
            piece = stream.receive(deadline)
        except LinkClosed as error:
            raise ConnectFailed(f"{error.message}{_quote(heard)}", _NEXT_STEP) from error
        if not piece:
            raise ConnectFailed(f"No agent started in time.{_quote(heard)}", "See whether the board is overloaded.")
        heard += piece
    return heard, False


def _quote(heard: bytes) -> str:
    said = clean_text(heard[-200:].decode("utf-8", "replace"), 200)
    return f" The other side said: {said!r}." if said else ""
