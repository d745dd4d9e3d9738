"""What both ends agree on: versions, limits, times, kinds, names, error codes."""

import re
from typing import Any, Dict, Optional

PROTOCOL = (1, 1)
"""Lowest and highest protocol version spoken."""
PREAMBLE = b"EPL/1\n\x00\x00"
NOISE_BYTES = 64 * 1024
"""How much a shell may say before the preamble."""

MAX_FRAME_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024 + 64 * 1024
MAX_JSON_BYTES = 64 * 1024
MAX_JSON_DEPTH = 16
MAX_FETCH_BYTES = 1024 * 1024
WINDOW_BYTES = 4 * 1024 * 1024
"""How far an upload may run ahead of the last CREDIT."""
PING_S = 5.0
DEAD_S = 15.0
LEASE_TTL_S = 20.0

HELLO, DATA, ACK, PING, PONG, RESET, BYE, TUNE = range(8)
FIRST, LAST, ACK_NOW, RETX = 1, 2, 4, 8
CONTROL, BULK, EVENTS = range(3)
LANES_BY_URGENCY = (CONTROL, EVENTS, BULK)
REQ, RES, ERR, EVT, CANCEL, CHUNK, CREDIT = range(1, 8)
JSON, RAW, ZLIB, SHUFFLED = range(4)

ERROR_CODES = frozenset({
    "E_VERSION", "E_UNKNOWN", "E_ARG", "E_LIMIT", "E_BUSY", "E_FENCED", "E_LEASE", "E_NOSPC", "E_QUOTA", "E_HASH",
    "E_OFFSET", "E_NOTFOUND", "E_CANCELLED", "E_TIMEOUT", "E_RUNNER", "E_IO", "E_INTERNAL",
})  # fmt: skip
LEASED_OPS = frozenset({
    "board.pin", "board.unpin", "lease.renew", "lease.release", "store.open", "store.unpack", "run.start",
    "run.cancel", "release.stage", "release.switch", "release.rollback", "release.remove",
    "release.record", "venv.stage", "venv.switch",
})  # fmt: skip
"""Requests that carry the lease's epoch."""
IDEMPOTENT_OPS = frozenset({
    "lease.acquire", "run.start", "run.cancel", "release.stage", "release.switch", "release.rollback",
    "release.remove", "release.record",
})  # fmt: skip
"""Requests that carry a key, so that a repeated one is answered and not done again."""

NAMES = {
    "sha": re.compile("[0-9a-f]{64}"),
    "run": re.compile("[0-9a-z]{26}"),
    "model": re.compile("[a-z0-9][a-z0-9._-]{0,63}"),
    "release": re.compile("[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}(-[0-9]{1,3})?"),
    "idem": re.compile("[0-9a-f]{32}"),
}
"""The only names that cross the wire, each by its full form: no path can be spelled with them."""


class WireError(Exception):
    """Bytes that the protocol does not allow; the link is over."""


class AgentError(Exception):
    """A request is refused.

    Attributes:
        code: One of `ERROR_CODES`.
        message: What was wrong, in words.
        retry: Whether the same request may succeed later.
        detail: JSON data for the program at the other end.
    """

    def __init__(self, code: str, message: str, retry: bool = False, detail: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(code, message)
        self.code, self.message, self.retry, self.detail = code, message, retry, detail or {}

    def to_data(self) -> Dict[str, Any]:
        """Return the body of an ERR message; an overlong text is cut, so that the answer always fits."""
        return {"code": self.code, "retry": self.retry, "msg": self.message[:8000], "detail": self.detail}


def check_name(kind: str, value: Any) -> str:
    """Return `value` if it is a whole name of its kind.

    Args:
        kind: A key of `NAMES`.
        value: What came over the wire.

    Returns:
        The name.

    Raises:
        AgentError: E_ARG: it is not.
    """
    if not isinstance(value, str) or not NAMES[kind].fullmatch(value):
        raise AgentError("E_ARG", f"{str(value)[:80]!r} is not a valid {kind}.")
    return value
