"""Addresses of boards: URIs <-> values. Pure: nothing is opened, nothing is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from edgeprune.errors import UsageError, nearest
from edgeprune.units import parse_quantity

SCHEMES = ("local", "ssh", "ssh+exec", "serial")
DEFAULT_BAUD = 115200
DEFAULT_FASTEST = 921600
_TYPED_BYTES = 500
"""A terminal loses what is beyond 4095 bytes of a line, and the first stage needs most of them."""
_EXAMPLES = "local://, ssh://user@host:22, serial:///dev/ttyUSB0?baud=921600"


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """This machine.

    Attributes:
        root: The agent's folder; "" for the default.
        quota_bytes: What the agent's store may hold; None for its default.
    """

    root: str = ""
    quota_bytes: int | None = None
    scheme: str = "local"

    def __str__(self) -> str:
        return "local://" + _query(root=self.root, quota="" if self.quota_bytes is None else f"{self.quota_bytes}B")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """A board that runs an SSH server.

    Attributes:
        host: Name or IP address, or a Host of ~/.ssh/config.
        user: "" for the one of ~/.ssh/config, else the local one.
        port: None for the one of ~/.ssh/config, else 22.
        root: The agent's folder on the board; "" for ~/.edgeprune there.
        quota_bytes: What the agent's store may hold; None for its default.
        ask_password: Whether the user is asked for a password; else keys alone count.
        identity: Path of the one private key to log in with; "" for those of the user's configuration.
        scheme: "ssh" for our own client, "ssh+exec" for the system's `ssh`.
    """

    host: str
    user: str = ""
    port: int | None = None
    root: str = ""
    quota_bytes: int | None = None
    ask_password: bool = False
    identity: str = ""
    scheme: str = "ssh"

    def __str__(self) -> str:
        user = quote(self.user, safe="") + "@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}://{user}{host}{port}" + _query(
            root=self.root,
            quota="" if self.quota_bytes is None else f"{self.quota_bytes}B",
            password="ask" if self.ask_password else "",
            identity=self.identity,
        )


@dataclass(frozen=True, slots=True)
class SerialAddress:
    """A board behind a serial line of this machine.

    Attributes:
        port: Path of the terminal.
        baud: Bits per second of the board's console.
        fastest: The highest speed to try once the agent answers.
        login: Whom to log in as where the console asks; "" where it does not.
        root: The agent's folder on the board; "" for ~/.edgeprune there.
        whole_agent: Whether an agent that is typed in can install wheels; it takes longer to type.
    """

    port: str
    baud: int = DEFAULT_BAUD
    fastest: int = DEFAULT_FASTEST
    login: str = ""
    root: str = ""
    whole_agent: bool = False
    scheme: str = "serial"

    def __str__(self) -> str:
        return "serial://" + quote(self.port) + _query(
            baud="" if self.baud == DEFAULT_BAUD else str(self.baud),
            fastest="" if self.fastest == DEFAULT_FASTEST else str(self.fastest),
            login=self.login,
            root=self.root,
            agent="whole" if self.whole_agent else "",
        )  # fmt: skip


Address = LocalAddress | SshAddress | SerialAddress


def is_address(text: str) -> bool:
    """Return whether `text` is meant as an address, be it right or wrong, and not as a name."""
    return "://" in text


def parse_address(text: str) -> Address:
    """Read an address.

    Args:
        text: local://[?root=/path&quota=2GiB], ssh://[user@]host[:port][?root=/path&quota=2GiB&password=ask&identity=/key],
            the same with ssh+exec://, serial:///dev/tty…[?baud=N&fastest=N&login=USER&root=/path&agent=whole].

    Returns:
        Its parts; `str` of them is the address again, in its shortest form.

    Raises:
        UsageError: The scheme is unknown, or a part is wrong or missing.
    """
    if not text.isprintable():
        raise UsageError(f"The address {text!r} holds control characters.", f"Write it like: {_EXAMPLES}.")
    try:
        parts = urlsplit(text)
        _ = parts.port  # reading it checks it
    except ValueError as error:
        raise UsageError(f"{text!r} is not an address: {error}.", f"Write it like: {_EXAMPLES}.") from error
    if parts.scheme not in SCHEMES:
        guess = nearest(parts.scheme, SCHEMES)
        hint = f"Did you mean {guess}://? " if guess else ""
        raise UsageError(f"The address {text!r} has an unknown scheme.", f"{hint}Write it like: {_EXAMPLES}.")
    if parts.fragment or parts.password is not None:
        raise UsageError(f"The address {text!r} holds more than it may.", "Leave out passwords and fragments.")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme in ("ssh", "ssh+exec"):
        return _ssh(text, parts, options)
    if parts.scheme == "serial":
        return _serial(text, parts, options)
    root, quota = options.pop("root", ""), options.pop("quota", "")
    _refuse_rest(text, options, bool(parts.netloc or parts.path))
    return LocalAddress(root, _size(quota) if quota else None)


def _ssh(text: str, parts: SplitResult, options: dict[str, str]) -> SshAddress:
    root, quota, password, identity = (options.pop(key, "") for key in ("root", "quota", "password", "identity"))
    _refuse_rest(text, options, parts.path not in ("", "/"))
    host, user = parts.hostname, unquote(parts.username or "")
    if not host:
        raise UsageError(f"The address {text!r} names no host.", f"Write it like {parts.scheme}://user@host.")
    if host.startswith("-"):
        raise UsageError(f"The address {text!r} has a host that begins with '-'.", "No host is called so.")
    if password not in ("", "ask") or (password and parts.scheme != "ssh"):
        raise UsageError(
            f"{parts.scheme}://{host} has a wrong option 'password'.",
            "Write ssh://…?password=ask to be asked for it; a password itself belongs into no address.",
        )
    return SshAddress(
        host, user, parts.port, root, _size(quota) if quota else None, password == "ask", identity, scheme=parts.scheme
    )


def _serial(text: str, parts: SplitResult, options: dict[str, str]) -> SerialAddress:
    baud = _baud(text, options.pop("baud", str(DEFAULT_BAUD)))
    fastest = _baud(text, options.pop("fastest", str(DEFAULT_FASTEST)))
    login, root, agent = (options.pop(key, "") for key in ("login", "root", "agent"))
    _refuse_rest(text, options, bool(parts.netloc))
    if not parts.path.strip("/"):
        raise UsageError(f"The address {text!r} names no port.", "Write it like serial:///dev/ttyUSB0.")
    if agent not in ("", "whole"):
        raise UsageError(f"The address {text!r} has a wrong option 'agent'.", "Write agent=whole or leave it out.")
    if len(root.encode()) > _TYPED_BYTES:
        raise UsageError(f"The address {text!r} has a root that is too long to type.", "Give a shorter one.")
    return SerialAddress(unquote(parts.path), baud, fastest, login, root, agent == "whole")


def _refuse_rest(text: str, options: dict[str, str], unexpected: bool) -> None:
    if options:
        raise UsageError(f"The address {text!r} has an unknown option {min(options)!r}.", f"Known forms: {_EXAMPLES}.")
    if unexpected:
        raise UsageError(f"The address {text!r} holds more than it may.", f"Write it like: {_EXAMPLES}.")


def _baud(text: str, number: str) -> int:
    if not number.isascii() or not number.isdigit() or not 300 <= int(number[:9]) <= 12_000_000:
        raise UsageError(f"The address {text!r} has a bad baud rate.", "Write it like ?baud=921600.")
    return int(number)


def _size(text: str) -> int:
    size = parse_quantity(text, "bytes")
    if size < 0:
        raise UsageError(f"A quota of {text!r} is less than nothing.", "Write it like ?quota=2GiB.")
    return int(size)


def _query(**options: str) -> str:
    given = {key: value for key, value in options.items() if value}
    return "?" + urlencode(given, safe="/") if given else ""
