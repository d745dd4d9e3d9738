"""Bodies made short for slow lines, within limits; which way is best for a file is found by trying."""

import zlib
from typing import Sequence, Tuple

from edgeprune_agent.wire.protocol import MAX_MESSAGE_BYTES, RAW, SHUFFLED, ZLIB, WireError

SAMPLE_BYTES = 64 * 1024
_PLANES = 4
"""Bytes of a 32-bit number; the first ones of neighbouring weights are alike, once they stand together."""
_WORTH_WHILE = 0.97
_LEVEL = 6


def pack(content: bytes, codec: int) -> bytes:
    """Return a body: `content` as the codec has it travel."""
    if codec == SHUFFLED:
        return zlib.compress(_shuffle(content), _LEVEL)
    return zlib.compress(content, _LEVEL) if codec == ZLIB else content


def unpack(body: bytes, codec: int) -> bytes:
    """Return what was packed.

    Args:
        body: As it travelled.
        codec: ZLIB or SHUFFLED.

    Returns:
        The content.

    Raises:
        WireError: It does not unpack, or to more than a message may hold.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(body, MAX_MESSAGE_BYTES)
    except zlib.error as error:
        raise WireError(f"a body that does not unpack: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise WireError("a packed body that is over the limit, cut short or has a tail")
    return _unshuffle(content) if codec == SHUFFLED else content


def best_codec(samples: Sequence[bytes]) -> Tuple[int, float]:
    """Return the codec that makes the samples shortest, and to which share of their length; RAW if none is worth it."""
    whole = sum(map(len, samples))
    sizes = {codec: sum(len(pack(sample, codec)) for sample in samples) for codec in (ZLIB, SHUFFLED)}
    best = min(sizes, key=lambda codec: sizes[codec])
    return (best, sizes[best] / whole) if sizes[best] < _WORTH_WHILE * whole else (RAW, 1.0)


def _shuffle(content: bytes) -> bytes:
    return b"".join(content[plane::_PLANES] for plane in range(_PLANES))


def _unshuffle(content: bytes) -> bytes:
    out, start = bytearray(len(content)), 0
    for plane in range(_PLANES):
        size = len(range(plane, len(content), _PLANES))
        out[plane::_PLANES] = content[start : start + size]
        start += size
    return bytes(out)
