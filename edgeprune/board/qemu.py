"""The QEMU process of a board: started, found again, powered off, killed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from edgeprune.board.host_tools import last_words
from edgeprune.board.machine import Parts
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed

_CONSOLE = re.compile(r"char device redirected to (/dev/\S+) \(label console\)")
_PORTS = range(20000, 32768)
"""Below those that Linux gives to outgoing connections."""
_START_S = 20.0
_POLL_S = 0.02
_STOP_S = 10.0


_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started, and so has to reap; it goes on when this process ends."""


class PortTaken(ConnectFailed):
    """Another process has the port that was free a moment ago."""


def free_port() -> int:
    """Return a port of loopback that nobody has at the moment, and that no outgoing connection gets by chance."""
    ports = random.SystemRandom().sample(_PORTS, len(_PORTS))
    return next(port for port in ports if is_free(port))


def is_free(port: int) -> bool:
    """Return whether a port of loopback can be had."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def comes_free(port: int, seconds: float) -> bool:
    """Return whether a port of loopback can be had within some seconds."""
    deadline = Deadline(seconds)
    while not is_free(port) and not deadline.expired:
        time.sleep(_POLL_S)
    return is_free(port)


def start(command: Sequence[str], parts: Parts) -> tuple[int, str]:
    """Start QEMU, which goes on when this process ends.

    Args:
        command: From `machine.start_command`.
        parts: The board's own files.

    Returns:
        The process's id, and the path of the console's terminal.

    Raises:
        PortTaken: The port of the command is in use.
        ConnectFailed: QEMU ended, or did not say its console.
    """
    with parts.qemu_log.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    _children[process.pid] = process
    deadline = Deadline(_START_S)
    while not deadline.expired:
        ended, said = process.poll() is not None, parts.qemu_log.read_text("utf-8", "replace")
        if ended:
            _reap(process.pid)
            kind = PortTaken if "hostfwd" in said else ConnectFailed
            raise kind(f"QEMU failed: {last_words(said)}.", f"See {parts.qemu_log}.")
        if found := _CONSOLE.search(said):
            return process.pid, found[1]
        time.sleep(_POLL_S)
    raise ConnectFailed("QEMU does not say the terminal of its console.", f"See {parts.qemu_log}.")


def runs(pid: int, disk: Path) -> bool:
    """Return whether a process is the QEMU of a board, and not another one that has got its number since.

    Args:
        pid: Its id.
        disk: The board's.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return os.fsencode(str(disk).replace(",", ",,")) in words and state not in "ZX"


def wait_for_end(pid: int, disk: Path, seconds: float) -> bool:
    """Return whether a board's QEMU has ended within some seconds."""
    deadline = Deadline(seconds)
    while runs(pid, disk):
        if deadline.expired:
            return False
        _reap(pid)
        time.sleep(_POLL_S)
    _reap(pid)
    return True


def end(pid: int, disk: Path, *, hard: bool = False) -> None:
    """End a board's QEMU without asking the board: to it, this is a pulled plug.

    Args:
        pid: Its id.
        disk: The board's.
        hard: Whether QEMU is not asked either (SIGKILL).

    Raises:
        ConnectFailed: It does not end.
    """
    for number in (signal.SIGKILL,) if hard else (signal.SIGTERM, signal.SIGKILL):
        if runs(pid, disk):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if wait_for_end(pid, disk, _STOP_S):
            return
    raise ConnectFailed(f"QEMU (process {pid}) does not end.", "See what it waits for.")


def _reap(pid: int) -> None:
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
