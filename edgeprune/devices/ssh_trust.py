"""`devices trust`: the only way by which EdgePrune accepts a host key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeprune.devices.address import Address, SshAddress
from edgeprune.devices.ssh_config import Host, look_up
from edgeprune.devices.ssh_connect import Links
from edgeprune.devices.ssh_known_hosts import HostKey, KnownKeys, own_file, remember
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, UsageError

_CONNECT_S = 15.0


@dataclass(frozen=True, slots=True)
class Trust:
    """What was decided about a host's key.

    Attributes:
        host: Its name in known_hosts.
        kind: Of the key.
        fingerprint: Of the key, as `ssh-keygen -l` writes it.
        replaced: Fingerprints that counted until now.
        new: Whether it was not trusted before.
    """

    host: str
    kind: str
    fingerprint: str
    replaced: tuple[str, ...]
    new: bool


def trust(address: Address, fingerprint: str | None, confirm: Callable[[str], bool]) -> Trust:
    """Ask a server for its host key, and store it if the user knows it.

    Args:
        address: Of the board; the hosts on the way to it must be trusted already.
        fingerprint: What the user says it is, "SHA256:…"; None to ask.
        confirm: Shows the question and returns the answer; not called with a fingerprint.

    Returns:
        What is stored.

    Raises:
        UsageError: It is no SSH address, the fingerprint is another one, or the user said no.
        ConnectFailed: The host is reached by a command of the user's alone.
    """
    if not isinstance(address, SshAddress):
        raise UsageError(f"{address} has no host key.", "Only ssh:// and ssh+exec:// have one.")
    host = look_up(address)
    if host.proxy_command:
        raise ConnectFailed(
            f"{host} is reached by a ProxyCommand, which only the system's ssh runs.",
            f"Run `ssh {address.host}` once, and accept its key there.",
        )
    key, known = _ask(host)
    _refuse_what_stands(host, key, known)
    held = tuple(old.fingerprint for old in known.trusted)
    result = Trust(host.key_name, key.kind, key.fingerprint, () if key in known.trusted else held, not held)
    if key in known.trusted:
        return result
    if fingerprint is not None and fingerprint.rstrip("=") != key.fingerprint:
        raise UsageError(
            f"{host} shows {key.fingerprint}, not {fingerprint}.", "Do not connect before you know who answers there."
        )
    if fingerprint is None and not confirm(_question(host, key, held)):
        raise UsageError(
            f"The key of {host} was not trusted.",
            "Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there; then add --fingerprint SHA256:…",
        )
    remember(host.key_name, key)
    return result


def _ask(host: Host) -> tuple[HostKey, KnownKeys]:
    deadline = Deadline(_CONNECT_S)
    with contextlib.closing(Links()) as links, links.cut_at(deadline):
        _, key, known = links.greet(host, deadline)
    return key, known


def _refuse_what_stands(host: Host, key: HostKey, known: KnownKeys) -> None:
    # What other files say is the user's or the administrator's, and not ours to overrule.
    if key in known.revoked:
        raise ConnectFailed(f"{host} shows the revoked key {key.fingerprint}.", "Find out who answers there.")
    others = {path for path in known.trusted.values() if path != own_file()}
    if key not in known.trusted and others:
        raise ConnectFailed(
            f"{host} shows {key.fingerprint}, but {', '.join(map(str, sorted(others)))} holds another key for it.",
            f"If the board was set up anew: ssh-keygen -R '{host.key_name}' -f {min(others)}, then trust it again.",
        )


def _question(host: Host, key: HostKey, held: tuple[str, ...]) -> str:
    before = f"Until now it was {', '.join(held)}. " if held else ""
    return f"{host} shows the host key\n  {key.kind} {key.fingerprint}\n{before}Is it the board's? "
