"""From a host to a verified, logged-in SSH connection: dial, jump, check the host key, log in. Each by a deadline."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import paramiko

from edgeprune.devices.address import SshAddress, parse_address
from edgeprune.devices.replies import clean_text
from edgeprune.devices.ssh_auth import log_in
from edgeprune.devices.ssh_config import Host, look_up
from edgeprune.devices.ssh_known_hosts import HostKey, KnownKeys, known_keys
from edgeprune.devices.transport import Deadline
from edgeprune.errors import ConnectFailed, UsageError

_STALLED_S = 15.0
_MOST_JUMPS = 8
_GONE_S = 2.0
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
"""Ours in their order, which is what counts between two SSH sides. GCM needs no second pass for a MAC."""
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its errors would go to standard error


class PatientSocket:
    """A socket for paramiko, which by itself tries to write for ever.

    Args:
        wrapped: A socket, or a channel through a jump host.

    Attributes:
        deadline: Of the send that is going on, if one is.
    """

    def __init__(self, wrapped: Any) -> None:
        self._wrapped, self._direct = wrapped, isinstance(wrapped, socket.socket)
        self._stalled_at: float | None = None
        self._closed = False  # paramiko looks at it
        self.deadline: Deadline | None = None

    def send(self, data: bytes) -> int:
        """Write some bytes.

        Args:
            data: The bytes.

        Returns:
            How many of them.

        Raises:
            TimeoutError: None, for now; paramiko tries again.
            BrokenPipeError: None, and that for too long.
        """
        try:
            sent: int = self._wrapped.send(data)
        except TimeoutError as error:
            now = time.monotonic()
            self._stalled_at = self._stalled_at or now
            late = self.deadline is not None and self.deadline.expired
            if late or now - self._stalled_at > _STALLED_S:
                raise BrokenPipeError("The other side takes nothing any more.") from error
            raise
        self._stalled_at = None
        return sent

    def recv(self, size: int) -> bytes:
        """Return what came, at most `size` bytes."""
        data: bytes = self._wrapped.recv(size)
        if self._direct:
            # A server holds back its next small packet until we have acknowledged the last one.
            self._wrapped.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data

    def settimeout(self, seconds: float) -> None:
        """Set how long one call may wait."""
        self._wrapped.settimeout(seconds)

    def close(self) -> None:
        """Close it, and wake whoever reads from it; may be called again."""
        self._closed = True
        if self._direct:
            with contextlib.suppress(OSError):
                self._wrapped.shutdown(socket.SHUT_RDWR)
        self._wrapped.close()


class Link:
    """One SSH connection.

    Args:
        wrapped: A connected socket, or a channel through a jump host.
        known: Host keys that are held, whose kinds are asked for first.
    """

    def __init__(self, wrapped: Any, known: KnownKeys) -> None:
        self.socket = PatientSocket(wrapped)
        self.transport = paramiko.Transport(self.socket)
        options = self.transport.get_security_options()
        options.ciphers, options.digests = _CIPHERS, _MACS
        options.key_types = _wanted_kinds(known, tuple(options.key_types))

    def shake_hands(self, deadline: Deadline) -> HostKey:
        """Agree on keys.

        Args:
            deadline: Until when.

        Returns:
            The server's key, not yet verified.
        """
        patience_s = max(0.1, deadline.remaining_s)
        self.transport.banner_timeout = self.transport.auth_timeout = self.transport.handshake_timeout = patience_s
        self.transport.channel_timeout = patience_s
        self.transport.start_client(timeout=patience_s)
        key = self.transport.get_remote_server_key()
        return HostKey(key.get_name(), key.asbytes())

    def close(self) -> None:
        """End the connection and its thread."""
        self.socket.close()
        self.transport.close()
        if self.transport.is_alive() and self.transport is not threading.current_thread():
            self.transport.join(_GONE_S)


class Links:
    """The connections to one board, from the first jump host to the board itself. `close` ends them all."""

    def __init__(self) -> None:
        self._links: list[Link] = []
        self._jumps = 0

    @contextlib.contextmanager
    def cut_at(self, deadline: Deadline) -> Iterator[None]:
        """Cut everything when a deadline passes, for calls of paramiko that know none.

        Args:
            deadline: Until when the block may take.

        Yields:
            Nothing.
        """
        timer = threading.Timer(deadline.remaining_s, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def log_in(self, host: Host, deadline: Deadline) -> Link:
        """Connect to a host, verify its key, and log in.

        Args:
            host: The board.
            deadline: Until when.

        Returns:
            The connection.
        """
        with errors_named(host, deadline):
            link, key, known = self.greet(host, deadline)
            verify(host, key, known)
            log_in(link.transport, host)
            return link

    def greet(self, host: Host, deadline: Deadline) -> tuple[Link, HostKey, KnownKeys]:
        """Connect to a host, as far as its key.

        Args:
            host: The host; whatever lies before it is verified and logged in to.
            deadline: Until when.

        Returns:
            The connection, the key that the host has shown, and what is known of it.
        """
        with errors_named(host, deadline):
            known = known_keys(host.key_name, host.known_hosts)
            link = Link(self._dial(host, deadline), known)
            self._links.append(link)
            return link, link.shake_hands(deadline), known

    def _dial(self, host: Host, deadline: Deadline) -> Any:
        if host.proxy_command:
            raise ConnectFailed(
                f"{host} is reached by a ProxyCommand, which ssh:// does not run.",
                f"Use {dataclasses.replace(host.address, scheme='ssh+exec')}.",
            )
        if host.jumps:
            return self._jump(host, deadline)
        connected = socket.create_connection((host.hostname, host.port), max(0.1, deadline.remaining_s))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _jump(self, host: Host, deadline: Deadline) -> Any:
        self._jumps += 1
        if self._jumps > _MOST_JUMPS:
            raise ConnectFailed(f"The way to {host} goes over too many jump hosts.", "See to ProxyJump.")
        before = look_up(_jump_address(host.jumps[-1]))
        if len(host.jumps) > 1:
            before = dataclasses.replace(before, jumps=host.jumps[:-1])
        link = self.log_in(before, deadline)
        return link.transport.open_channel("direct-tcpip", (host.hostname, host.port), ("127.0.0.1", 0))

    def _cut(self) -> None:
        for link in list(self._links):
            link.socket.close()
            link.transport.close()

    def close(self) -> None:
        """End them, the board's first."""
        while self._links:
            self._links.pop().close()


def verify(host: Host, key: HostKey, known: KnownKeys) -> None:
    """Compare the key that a host has shown with what is known.

    Args:
        host: The host.
        key: Its key.
        known: From the known_hosts files.

    Raises:
        ConnectFailed: The key is revoked, another one than is known, or unknown.
    """
    shown = f"{host} shows the host key {key.kind} {key.fingerprint}"
    trust = f"edgeprune devices trust '{host.address}'"
    if key in known.revoked:
        raise ConnectFailed(f"{shown}, which is revoked.", "Do not connect; find out who answers there.")
    if key in known.trusted:
        return
    if known.trusted:
        held = ", ".join(f"{k.kind} {k.fingerprint} of {path}" for k, path in known.trusted.items())
        raise ConnectFailed(
            f"{shown}; known is {held}. Somebody else answers there, or the board was set up anew.",
            f"Find out which. If it was set up anew: ssh-keygen -R '{host.key_name}', then {trust}.",
        )
    if known.certified:
        raise ConnectFailed(
            f"{host} proves itself by a certificate, which ssh:// does not check.",
            f"Use {dataclasses.replace(host.address, scheme='ssh+exec')}, or trust its key: {trust}.",
        )
    raise ConnectFailed(f"{shown}, which nobody has trusted yet.", f"Compare it and run: {trust}.")


@contextlib.contextmanager
def errors_named(host: Host, deadline: Deadline) -> Iterator[None]:
    """Turn what goes wrong on the way to a host into a `ConnectFailed` that names the host.

    Args:
        host: The host.
        deadline: Of the attempt.

    Yields:
        Nothing.

    Raises:
        ConnectFailed: Something went wrong.
    """
    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        if deadline.expired or isinstance(error, TimeoutError):
            raise ConnectFailed(f"{host} did not answer in time.", "See whether it is on, and its cable.") from error
        if isinstance(error, paramiko.IncompatiblePeer):
            step = f"Use {dataclasses.replace(host.address, scheme='ssh+exec')}."
            raise ConnectFailed(f"{host} speaks none of our ciphers: {_words(error)}.", step) from error
        step = "See whether it is on, runs an SSH server, and has this name and port."
        raise ConnectFailed(f"{host} cannot be reached: {_words(error)}.", step) from error


def _words(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clean_text(text, 300).rstrip(".") or type(error).__name__


def _wanted_kinds(known: KnownKeys, all_kinds: tuple[str, ...]) -> tuple[str, ...]:
    # A server has several keys and shows the kind that is asked for first: ask for one that we can compare.
    held = [kind for key in known.trusted for kind in (_RSA if key.kind == "ssh-rsa" else (key.kind,))]
    first = [kind for kind in all_kinds if kind in held]
    return (*first, *(kind for kind in all_kinds if kind not in held))


def _jump_address(text: str) -> SshAddress:
    address = parse_address(text if "://" in text else f"ssh://{text}")
    if not isinstance(address, SshAddress):
        raise UsageError(f"The jump host {text!r} is no SSH address.", "Correct ProxyJump.")
    return address
