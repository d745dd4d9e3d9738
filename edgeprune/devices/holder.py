"""How a session signs its lease, and how we recognise one that was left behind.

By a dead process of this machine, or by a session of this process whose link was cut before it could give it back.
"""

from __future__ import annotations

import getpass
import hashlib
import itertools
import os
import re
import socket
from pathlib import Path

_SIGNED = re.compile(r".* process (\d+) session \d+ \[([0-9a-f]{8})\]")
_numbers = itertools.count(1)
_open: set[str] = set()
"""Of sessions of this process that have a lease, or are about to."""


def sign() -> str:
    """Return a text that names a session of this process as a holder, until `leave` is called with it.

    Returns:
        Such as "ada@desk process 4711 session 1 [9f3c01ab]"; the last digits stand for this boot of this machine.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    name = f"{user}@{socket.gethostname()}"[:120]
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    holder = f"{printable} process {os.getpid()} session {next(_numbers)} [{_place()}]"
    _open.add(holder)
    return holder


def leave(holder: str) -> None:
    """Note that a session is over: a lease that still bears its name was left behind."""
    _open.discard(holder)


def is_dead(holder: str) -> bool:
    """Return whether a holder was a process of this boot of this machine that has ended, or an ended session of ours.

    Args:
        holder: The text of a lease.

    Returns:
        False for every holder elsewhere, and wherever that cannot be known.
    """
    match = _SIGNED.fullmatch(holder)
    if match is None or not _place() or match[2] != _place():
        return False
    if int(match[1][:9]) == os.getpid():
        return holder not in _open
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
