"""Raw samples <-> bytes that are small and the same on every machine."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable


def pack(samples: Iterable[int]) -> bytes:
    """Compress samples.

    Args:
        samples: Integers of 64 bits.

    Returns:
        zlib over little-endian int64.
    """
    values = array("q", samples)
    if sys.byteorder == "big":
        values.byteswap()
    return zlib.compress(values.tobytes())


def unpack(blob: bytes) -> array[int]:
    """Read what `pack` wrote.

    Args:
        blob: Its bytes.

    Returns:
        The samples, in order.

    Raises:
        ValueError: The bytes are damaged.
    """
    values = array("q")
    try:
        values.frombytes(zlib.decompress(blob))
    except zlib.error as error:
        raise ValueError(f"samples are damaged: {error}") from error
    if sys.byteorder == "big":
        values.byteswap()
    return values
