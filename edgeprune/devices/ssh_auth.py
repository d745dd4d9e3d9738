"""Logging in: keys of the user's configuration and of ssh-agent; a password only from the user's own terminal."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.pkey import PublicBlob

from edgeprune.devices.replies import clean_text
from edgeprune.devices.ssh_config import Host
from edgeprune.devices.ssh_known_hosts import HostKey
from edgeprune.errors import ConnectFailed

_passwords: dict[str, str] = {}
"""Of this process, by user and host: a link that is opened again asks no second time."""


def ask_password(host: Host) -> None:
    """Ask the user for the password of a login, once a process.

    Args:
        host: Where.

    Raises:
        ConnectFailed: There is no terminal to ask at.
    """
    if str(host) in _passwords:
        return
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise ConnectFailed(
            f"There is no terminal at which to ask for the password of {host}.", "Put a key on the board: ssh-copy-id."
        ) from error
    _passwords[str(host)] = getpass.getpass(f"Password of {host}: ")


def log_in(link: paramiko.Transport, host: Host) -> None:
    """Log in by the first key that the server takes, else by the password that was asked for.

    Args:
        link: Whose host key was verified.
        host: Whom to be there.

    Raises:
        ConnectFailed: The server takes none.
    """
    tried: list[str] = []
    skipped: list[str] = []
    with contextlib.closing(paramiko.Agent()) as agent:
        for name, key in _keys(host, agent, skipped):
            tried.append(name)
            if _offer(link, host, key):
                return
    password = _passwords.get(str(host)) if host.address.ask_password else None
    if password is not None:
        with contextlib.suppress(paramiko.AuthenticationException):
            link.auth_password(host.user, password)
            return
        del _passwords[str(host)]
        tried.append("the password")
    offered = "; ".join([f"it was offered {', '.join(tried)}" if tried else "there was no key to offer", *skipped])
    raise ConnectFailed(
        f"{host} refused the login: {offered}.",
        f"Put a key there: ssh-copy-id -p {host.port} {host.user}@{host.hostname}; see docs/devices/ssh.md.",
    )


def _offer(link: paramiko.Transport, host: Host, key: paramiko.PKey) -> bool:
    try:
        return not link.auth_publickey(host.user, key)  # a list of what else is asked for, if this is not enough
    except paramiko.SSHException:
        if link.is_active():
            return False
        raise  # it hung up, as servers do after some wrong keys


def _keys(host: Host, agent: paramiko.Agent, skipped: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    """Yield keys in the order in which OpenSSH offers them: those of the agent that are configured, then files."""
    configured = {_public_blob(path) for path in host.identity_files} - {None}
    held = list(agent.get_keys())
    for key in held:
        if key.asbytes() in configured:
            yield f"{HostKey(key.get_name(), key.asbytes()).fingerprint} of ssh-agent", key
    for key in held:
        if key.asbytes() not in configured and not host.identities_only:
            yield f"{HostKey(key.get_name(), key.asbytes()).fingerprint} of ssh-agent", key
    in_agent = {key.asbytes() for key in held}
    for path in host.identity_files:
        if _public_blob(path) in in_agent:
            continue
        try:
            yield str(path), paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):  # a TypeError is how its parser asks for a passphrase
            skipped.append(f"{path} needs its passphrase, so ssh-add it")
        except (paramiko.SSHException, ValueError, OSError) as error:
            skipped.append(f"{path} cannot be read: {clean_text(error, 100)}")


def _public_blob(path: Path) -> bytes | None:
    with contextlib.suppress(OSError, ValueError, paramiko.SSHException):
        blob: bytes = PublicBlob.from_file(f"{path}.pub").key_blob
        return blob
    return None
