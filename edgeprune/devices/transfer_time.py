"""How long a file takes over a serial line, said before it is sent. Pure."""

from __future__ import annotations

from edgeprune import units

NOTICE_S = 5.0
"""What takes no longer is not worth a line."""
_BITS_PER_BYTE = 10
"""Start and stop bit included."""


def transfer_notice(size: int, line_rate: int, share: float = 1.0) -> str:
    """Return what to say before an upload.

    Args:
        size: Bytes that are still to be sent.
        line_rate: Bits per second of the line; 0 for a link of unknown speed.
        share: What packing leaves of the bytes.

    Returns:
        Such as "874 KiB over 115200 baud: about 1 min 18 s"; "" where it is quick or nobody knows.
    """
    seconds = size * share * _BITS_PER_BYTE / line_rate if line_rate else 0.0
    if seconds < NOTICE_S:
        return ""
    amount = units.format_quantity(size, "bytes")
    packed = f", {units.format_quantity(size * share, 'bytes')} when packed," if share < 1.0 else ""
    return f"{amount}{packed} over {line_rate} baud: about {_long(seconds)}"


def _long(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else units.format_duration(seconds)
