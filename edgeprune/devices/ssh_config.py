"""What the user's SSH configuration says of a host: asked of `ssh -G` where there is an `ssh`, else of paramiko."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko

from edgeprune.devices.address import SshAddress
from edgeprune.devices.replies import clean_text
from edgeprune.devices.ssh_known_hosts import SSH_PORT, entry_name, own_file
from edgeprune.errors import ConfigError

CONFIG_VARIABLE = "EDGEPRUNE_SSH_CONFIG"
"""Names a file that stands in for ~/.ssh/config, for a CI job that shall not depend on its user's."""
_SSH_S = 10.0
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, slots=True)
class Host:
    """How a host is reached.

    Attributes:
        address: As it was asked for.
        hostname: What to connect to,
        port: there.
        user: Whom to log in as.
        identity_files: Private keys to try; those that are not there are left out.
        identities_only: Whether the keys of the agent that are not among them are not to be tried.
        jumps: Hosts to go through, the first one first.
        proxy_command: Local command that stands in for the connection; "" for none.
        known_hosts: Files of host keys, EdgePrune's own last.
        key_name: Under which its keys are listed in them.
    """

    address: SshAddress
    hostname: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    identities_only: bool
    jumps: tuple[str, ...]
    proxy_command: str
    known_hosts: tuple[Path, ...]
    key_name: str

    def __str__(self) -> str:
        return f"{self.user}@{self.hostname}:{self.port}"


def look_up(address: SshAddress) -> Host:
    """Return how the user's configuration reaches a host.

    Args:
        address: The host; what it says goes before the configuration.

    Returns:
        The way.

    Raises:
        ConfigError: The configuration is broken.
    """
    program = shutil.which("ssh")
    settings = _ask_ssh(program, address) if program else _ask_paramiko(address)
    if address.identity:
        settings |= {"identityfile": [address.identity.replace("%", "%%")], "identitiesonly": ["yes"]}
    hostname = settings.get("hostname", [address.host])[0]
    port = address.port or _number(settings.get("port", [str(SSH_PORT)])[0])
    user = address.user or settings.get("user", [""])[0] or getpass.getuser()
    tokens = {"%%": "%", "%d": str(Path.home()), "%h": hostname, "%n": address.host, "%p": str(port), "%r": user}
    alias = _setting(settings, "hostkeyalias")
    files = [name for key in ("userknownhostsfile", "globalknownhostsfile") for name in _words(settings, key)]
    return Host(
        address, hostname, port, user,
        identity_files=tuple(p for p in _paths(settings.get("identityfile", []), tokens) if p.is_file()),
        identities_only=_setting(settings, "identitiesonly") == "yes",
        jumps=tuple(jump.strip() for jump in _setting(settings, "proxyjump").split(",") if jump.strip()),
        proxy_command=_setting(settings, "proxycommand"),
        known_hosts=(*_paths(files, tokens), own_file()),
        key_name=alias.lower() or entry_name(hostname, port),
    )  # fmt: skip


def ssh_options(address: SshAddress) -> list[str]:
    """Return the words that tell the system's `ssh` of the user's configuration and of an address, the host last.

    Args:
        address: The host.

    Returns:
        Arguments, none of which a shell ever sees.
    """
    options = ["-F", os.environ[CONFIG_VARIABLE]] if os.environ.get(CONFIG_VARIABLE) else []
    options += ["-l", address.user] if address.user else []
    options += ["-p", str(address.port)] if address.port is not None else []
    options += ["-i", address.identity, "-o", "IdentitiesOnly=yes"] if address.identity else []
    return [*options, "--", address.host]


def _ask_ssh(program: str, address: SshAddress) -> dict[str, list[str]]:
    command = [program, "-G", *ssh_options(address)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SSH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"`ssh -G` failed: {error}.", "See to the configuration of ssh.") from error
    if done.returncode:
        said = clean_text(done.stderr.decode("utf-8", "replace"), 400)
        raise ConfigError(f"The configuration of ssh cannot be used: {said}", "Correct it.")
    settings: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key.lower(), []).append(value)
    return settings


def _ask_paramiko(address: SshAddress) -> dict[str, list[str]]:
    path = Path(os.environ.get(CONFIG_VARIABLE) or "~/.ssh/config").expanduser()
    settings: dict[str, list[str]] = {
        "userknownhostsfile": ["~/.ssh/known_hosts"],
        "identityfile": [f"~/.ssh/{name}" for name in _DEFAULT_KEYS],
    }
    if not path.is_file():
        return settings
    try:
        found = paramiko.SSHConfig.from_path(str(path)).lookup(address.host)
    except (paramiko.ConfigParseError, paramiko.CouldNotCanonicalize, OSError, ValueError) as error:
        raise ConfigError(f"It cannot be read: {error}.", "Correct it.", path=str(path)) from error
    return settings | {key: value if isinstance(value, list) else [value] for key, value in found.items()}


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"The configuration of ssh has a port {text!r}.", "Correct it.")
    return int(text)


def _setting(settings: Mapping[str, list[str]], key: str) -> str:
    value = settings.get(key, [""])[0].strip()
    return "" if value.lower() in ("none", "no", "false") else value


def _words(settings: Mapping[str, list[str]], key: str) -> list[str]:
    value = _setting(settings, key)
    try:
        return shlex.split(value)
    except ValueError:
        return [value]


def _paths(names: list[str], tokens: Mapping[str, str]) -> list[Path]:
    return [Path(_expand(name.strip('"'), tokens)).expanduser() for name in names if name.lower() != "none"]


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub("%.", lambda match: tokens.get(match[0], match[0]), text)
