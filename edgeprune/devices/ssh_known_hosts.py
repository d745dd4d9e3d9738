"""known_hosts files: which keys a host may show. Reads OpenSSH's format whole, hashed names and markers included."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgeprune.devices.user_files import change_file, config_folder

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class HostKey:
    """A server's public key.

    Attributes:
        kind: Such as "ssh-ed25519".
        blob: Its bytes as they travel.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` writes it: "SHA256:" and base64 without padding."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """What the known_hosts files say of one host.

    Attributes:
        trusted: Keys that it may show, and the file of each.
        revoked: Keys that nobody may show.
        certified: Whether an authority vouches for it by certificates.
    """

    trusted: dict[HostKey, Path]
    revoked: frozenset[HostKey]
    certified: bool


class _Line(NamedTuple):
    marker: str
    hosts: str
    key: HostKey


def own_file() -> Path:
    """Return EdgePrune's own known_hosts file, whether it is there or not."""
    return config_folder() / "known_hosts"


def entry_name(host: str, port: int) -> str:
    """Return the name under which a host's keys are listed: "[host]:port" unless the port is 22."""
    host = host.lower()
    return host if port == SSH_PORT else f"[{host}]:{port}"


def known_keys(name: str, files: Iterable[Path]) -> KnownKeys:
    """Look a host up.

    Args:
        name: From `entry_name`, or a HostKeyAlias.
        files: known_hosts files; those that are not there say nothing.

    Returns:
        What they say of it, together.
    """
    trusted: dict[HostKey, Path] = {}
    revoked, certified = set(), False
    for path in files:
        for line in _lines(path):
            if not _matches(line.hosts, name):
                continue
            if line.marker == "@revoked":
                revoked.add(line.key)
            elif line.marker == "@cert-authority":
                certified = True
            else:
                trusted.setdefault(line.key, path)
    return KnownKeys(trusted, frozenset(revoked), certified)


def known_hosts_line(name: str, key: HostKey) -> str:
    """Return what a known_hosts file says of a host that may show a key.

    Args:
        name: From `entry_name`.
        key: The key.

    Returns:
        A line with its end.
    """
    return f"{name} {key.kind} {base64.b64encode(key.blob).decode('ascii')}\n"


def forget(name: str) -> None:
    """Take what EdgePrune's own file says of a host out of it.

    Args:
        name: From `entry_name`, or a HostKeyAlias.
    """

    def take(text: str) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if not _is_of(line, name))

    change_file(own_file(), take)


def remember(name: str, key: HostKey) -> None:
    """Put a key into EdgePrune's own file, in place of whatever that says of the host.

    Args:
        name: From `entry_name`, or a HostKeyAlias.
        key: The key.
    """
    entry = known_hosts_line(name, key)

    def add(text: str) -> str:
        kept = [line for line in text.splitlines(keepends=True) if not _is_of(line, name)]
        if kept and not kept[-1].endswith("\n"):
            kept.append("\n")
        return "".join([*kept, entry])

    change_file(own_file(), add)


def _is_of(text: str, name: str) -> bool:
    line = _parse(text)
    return line is not None and not line.marker and line.hosts == name


def _lines(path: Path) -> Iterator[_Line]:
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield from (line for line in map(_parse, texts) if line is not None)


def _parse(text: str) -> _Line | None:
    words = text.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return _Line(marker, words[0], HostKey(words[1], blob))


def _matches(hosts: str, name: str) -> bool:
    if hosts.startswith("|"):
        return _matches_hash(hosts, name)
    patterns = hosts.lower().split(",")
    refused = any(_fits(pattern[1:], name) for pattern in patterns if pattern.startswith("!"))
    return not refused and any(_fits(pattern, name) for pattern in patterns if not pattern.startswith("!"))


def _fits(pattern: str, name: str) -> bool:
    # "*" and "?" alone are special; fnmatch would also take the brackets of "[host]:port" for a set.
    parts = (".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern)
    return re.fullmatch("".join(parts), name.lower()) is not None


def _matches_hash(hosts: str, name: str) -> bool:
    parts = hosts.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, expected = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), expected)
