"""DATA frames as a serial line carries most of them: eight bytes shorter, since both ends know the rest already.

On a line that errs, a frame's fixed cost weighs twice: it is sent with every frame, and it keeps frames from being made
as short as the errors ask for.
"""

import struct
import zlib

from edgeprune_agent.wire.frames import Frame
from edgeprune_agent.wire.protocol import DATA, EVENTS, WireError

FEATURE = "short"
"""In the `feat` of a HELLO: whoever says so reads short frames."""
_MARK = 0x80
_HEADER = struct.Struct(">BHB")
_CRC = struct.Struct(">I")
_SESSION = struct.Struct(">H")


def is_short(raw: bytes) -> bool:
    """Return whether the bytes of a frame begin like a short one; a long one begins with the protocol's number."""
    return bool(raw) and raw[0] >= _MARK


def encode_short(frame: Frame) -> bytes:
    """Return the bytes of a DATA frame, header, payload and CRC; session and sequence number are only hinted at."""
    head = _HEADER.pack(_MARK | frame.lane << 4 | frame.flags, frame.packet, frame.sequence & 0xFF)
    return b"".join((head, frame.payload, _CRC.pack(_checksum(frame.session, head + frame.payload))))


def decode_short(raw: bytes, session: int) -> Frame:
    """Read the bytes of one short frame.

    Args:
        raw: Exactly one frame.
        session: The session that it must belong to.

    Returns:
        The frame; of its sequence number only the low byte is known.

    Raises:
        WireError: Any bit of it is wrong, or it belongs to another session.
    """
    if len(raw) < _HEADER.size + _CRC.size:
        raise WireError(f"a short frame of {len(raw)} bytes")
    if _checksum(session, raw[: -_CRC.size]) != _CRC.unpack_from(raw, len(raw) - _CRC.size)[0]:
        raise WireError("a short frame whose checksum is wrong")
    first, packet, sequence = _HEADER.unpack_from(raw)
    lane = first >> 4 & 7
    if lane > EVENTS or session == 0:
        raise WireError(f"a short frame that begins with {first}")
    return Frame(DATA, first & 15, session, packet, sequence, lane, raw[_HEADER.size : -_CRC.size])


def _checksum(session: int, rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(_SESSION.pack(session)))
