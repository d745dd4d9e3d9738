"""Bytes <-> chunks without a zero byte (consistent overhead byte stuffing), so that zero can mark their ends.

A receiver that has lost its place is in step again at the next zero; text on the same line holds none.
"""

from typing import List

from edgeprune_agent.wire.protocol import WireError

_RUN = 254
"""The longest run that one count byte stands for."""


def encode(data: bytes) -> bytes:
    """Return `data` without zeros, one byte in 254 longer and one more."""
    out = bytearray()
    for run in data.split(b"\0"):
        at = 0
        while len(run) - at >= _RUN:
            out.append(_RUN + 1)
            out += run[at : at + _RUN]
            at += _RUN
        out.append(len(run) - at + 1)
        out += run[at:]
    return bytes(out)


def decode(chunk: bytes) -> bytes:
    """Return what `encode` was given.

    Args:
        chunk: Bytes without a zero.

    Returns:
        The data.

    Raises:
        WireError: It is no such chunk.
    """
    out = bytearray()
    at, size = 0, len(chunk)
    while at < size:
        count = chunk[at]
        end = at + count
        if count == 0 or end > size:
            raise WireError("a chunk that was cut")
        out += chunk[at + 1 : end]
        if count <= _RUN and end < size:
            out.append(0)
        at = end
    return bytes(out)


class Splitter:
    """Bytes of a line -> chunks between zeros, however the bytes are cut.

    Args:
        longest: A chunk that grows longer is thrown away.

    Attributes:
        rest: What came since the last zero.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._skipping = False
        self.rest = b""

    def feed(self, data: bytes) -> List[bytes]:
        """Take bytes.

        Args:
            data: From the line.

        Returns:
            The chunks that they complete, empty ones left out.
        """
        *chunks, rest = data.split(b"\0")
        if chunks:
            chunks[0] = b"" if self._skipping else self.rest + chunks[0]
            self.rest, self._skipping = rest, False
        elif not self._skipping:
            self.rest += rest
        if len(self.rest) > self._longest:
            self.rest, self._skipping = b"", True
        return [chunk for chunk in chunks if 0 < len(chunk) <= self._longest]
