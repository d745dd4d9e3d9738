"""A board's own keys, and the part of its initial RAM disk that takes them there."""

from __future__ import annotations

import base64
from pathlib import Path

from edgeprune.board.building import cpio
from edgeprune.board.host_tools import run
from edgeprune.devices.ssh_known_hosts import HostKey

USER, _UID = "board", 1000


def login_key(folder: Path) -> Path:
    """Return the private key that opens the board."""
    return folder / "login_key"


def make_keys(folder: Path) -> None:
    """Make the board's host key, and the key of whoever logs in there.

    Args:
        folder: The board's.
    """
    for path in (login_key(folder), _host_key(folder)):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"edgeprune board {folder.name}", "-f", path])


def host_key(folder: Path) -> HostKey:
    """Return the key that the board shows."""
    kind, blob, *_ = _public(_host_key(folder)).split()
    return HostKey(kind, base64.b64decode(blob))


def seed(folder: Path) -> bytes:
    """Return an archive of what is this board's alone: its name, its keys and its user's home.

    Args:
        folder: The board's.

    Returns:
        To be put behind the image's initial RAM disk; it is copied onto the disk at each start.
    """
    home = f"seed/home/{USER}"
    return cpio.archive(
        [
            *(cpio.folder(name) for name in ("seed", "seed/etc", "seed/etc/ssh", "seed/home")),
            cpio.file("seed/etc/hostname", f"{folder.name}\n".encode()),
            cpio.file("seed/etc/ssh/ssh_host_ed25519_key", _host_key(folder).read_bytes(), 0o600),
            cpio.folder(home, 0o755, _UID),
            cpio.folder(f"{home}/.ssh", 0o700, _UID),
            cpio.file(f"{home}/.ssh/authorized_keys", _public(login_key(folder)).encode(), 0o600, _UID),
        ]
    )


def _host_key(folder: Path) -> Path:
    return folder / "ssh_host_ed25519_key"


def _public(path: Path) -> str:
    return path.with_name(f"{path.name}.pub").read_text("utf-8")
