"""How we sign a lease, and how we recognise one that a dead process of this machine left behind."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from pathlib import Path

_SIGNED = re.compile(r".* process (\d+) \[([0-9a-f]{8})\]")


def signature(pid: int | None = None) -> str:
    """Return the text that names this process as a holder.

    Args:
        pid: Of the process; None for this one.

    Returns:
        Such as "ada@desk process 4711 [9f3c01ab]"; the digits in brackets stand for this boot of this machine.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    name = f"{user}@{socket.gethostname()}"[:120]
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return f"{printable} process {pid or os.getpid()} [{_place()}]"


def is_dead(holder: str) -> bool:
    """Return whether a holder was a process of this boot of this machine that has ended.

    Args:
        holder: The text of a lease.

    Returns:
        False for every holder elsewhere, and wherever that cannot be known.
    """
    match = _SIGNED.fullmatch(holder)
    if match is None or not _place() or match[2] != _place():
        return False
    try:
        os.kill(int(match[1][:9]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _place() -> str:
    """Return 8 digits for where process ids mean what they mean here; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot.strip()} {namespace}".encode()).hexdigest()[:8]
