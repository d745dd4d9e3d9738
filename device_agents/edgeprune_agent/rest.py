"""The second part of an agent that was typed into a console: what runs and releases need, and an upload does not.

The first part alone is typed, answers, and takes the second one over its link, which may be faster than the console,
while it serves requests already. An agent that came whole has nothing to wait for.
"""

import hashlib
import os
import zlib
from typing import List

import edgeprune_agent
from edgeprune_agent import identity, wire
from edgeprune_agent.wire import WireError

SHA256 = ""
"""Of the second part; the host puts it in when it takes the agent apart."""
REQUEST = 0
"""A CHUNK with this request id brings the second part."""
_MOST_BYTES = 1 << 20
_joined = []  # type: list[str]


def here() -> bool:
    """Return whether every module of the agent can be imported."""
    return not SHA256 or bool(_joined)


def wanted() -> List[str]:
    """Return what a HELLO says in its `feat`: which second part is wanted, packed how; nothing if it is here."""
    if here():
        return []
    try:
        import bz2  # noqa: F401  (some small systems leave it out)
    except ImportError:
        return ["rest", "rest.zlib"]
    return ["rest", "rest.bz2"]


def find() -> None:
    """Join the second part if it came with an earlier start."""
    if not SHA256:
        return
    try:
        with open(_path(), "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() == SHA256:
                _join()
                os.utime(_path())
    except OSError:
        return


def take(packed: bytes) -> None:
    """Unpack the second part, keep it and join it.

    Args:
        packed: By bz2 or zlib, as `wanted` asked for.

    Raises:
        WireError: It is another one.
        OSError: It does not unpack, or cannot be kept.
    """
    if here():
        return
    content = _unpack(packed)
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise WireError("it is not the one that belongs to the first")
    draft = "%s.%d.new" % (_path(), os.getpid())
    with open(draft, "wb") as file:
        file.write(content)
    os.replace(draft, _path())
    _join()


def _unpack(packed: bytes) -> bytes:
    if packed[:3] == b"BZh":
        import bz2

        return bz2.BZ2Decompressor().decompress(packed, _MOST_BYTES)
    try:
        return zlib.decompressobj().decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise WireError(str(error)) from error


def _path() -> str:
    return os.path.join(os.path.dirname(identity.agent_file()), SHA256 + ".pyz")


def _join() -> None:
    _joined.append(_path())
    for package in (edgeprune_agent, wire):
        package.__path__.append(os.path.join(_path(), *package.__name__.split(".")))
