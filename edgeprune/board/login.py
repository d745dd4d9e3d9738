"""Logging in to a board by the system's `ssh`, to learn that it is up and to power it off."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from edgeprune.board import keys
from edgeprune.devices.ssh_known_hosts import entry_name, known_hosts_line
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed

_TRY_S = 5.0
_LOGIN_S = 30.0
_PAUSE_S = 0.1
_SETTINGS = (
    "BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=20", "LogLevel=ERROR",
    "GlobalKnownHostsFile=none",
)  # fmt: skip


def wait(folder: Path, port: int, is_on: Callable[[], bool], seconds: float) -> None:
    """Wait until a board lets us in.

    Args:
        folder: The board's.
        port: Of its SSH server.
        is_on: Whether there is still something to wait for.
        seconds: How long at most.

    Raises:
        ConnectFailed: It went off, or did not let us in in time.
    """
    deadline = Deadline(seconds)
    while is_on():
        if _greets(port) and run(folder, port, "true"):
            return
        if deadline.expired:
            raise ConnectFailed(f"The board lets nobody in after {seconds:.0f} s.", f"See {folder / 'console.log'}.")
        time.sleep(_PAUSE_S)
    raise ConnectFailed("The board went off while it started.", f"See {folder / 'console.log'}.")


def power_off(folder: Path, port: int) -> None:
    """Ask a board to power off; one that does not listen does not mind."""
    run(folder, port, "sudo -n /bin/busybox poweroff")


def _greets(port: int) -> bool:
    # QEMU takes the connection at once, whether the board listens or not: only its greeting tells.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_TRY_S) as link:
        return link.recv(4) == b"SSH-"
    return False


def run(folder: Path, port: int, command: str) -> bool:
    """Run a command on a board.

    Args:
        folder: The board's.
        port: Of its SSH server.
        command: For its shell.

    Returns:
        Whether it was run and went well.
    """
    known = folder / "known_hosts"
    known.write_text(known_hosts_line(entry_name("127.0.0.1", port), keys.host_key(folder)), "utf-8")
    files = {"UserKnownHostsFile": known, "IdentityFile": keys.login_key(folder)}
    settings = [*_SETTINGS, *(f'{key}="{path}"' for key, path in files.items())]
    options = [word for setting in settings for word in ("-o", setting)]
    try:
        done = subprocess.run(
            ["ssh", "-F", "none", "-T", *options, "-l", keys.USER, "-p", str(port), "--", "127.0.0.1", command],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOGIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
