"""Frames, and the stream link: bytes <-> frames <-> messages, without I/O."""

import struct
import zlib
from collections import deque
from typing import Deque, Dict, List, NamedTuple, Optional, Tuple

from edgeprune_agent.wire.messages import Message, decode_message
from edgeprune_agent.wire.protocol import (
    CONTROL,
    DATA,
    EVENTS,
    FIRST,
    LANES_BY_URGENCY,
    LAST,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    TUNE,
    WireError,
)  # fmt: skip

_HEADER = struct.Struct(">BBHHHB3s")
_LENGTH = struct.Struct(">I")
_OVERHEAD = _HEADER.size + _LENGTH.size
STREAM_COST = _OVERHEAD + _LENGTH.size
"""Bytes that a frame takes in a stream besides its payload."""


class Frame(NamedTuple):
    """One frame; the fields are those of docs/wire.md."""

    kind: int
    flags: int
    session: int
    packet: int
    sequence: int
    lane: int
    payload: bytes

    def encode(self, prefix: bytes = b"") -> bytes:
        """Return its bytes, header, payload and CRC, behind a prefix."""
        first = PROTOCOL[1] << 4 | self.kind
        length = len(self.payload).to_bytes(3, "big")
        head = _HEADER.pack(first, self.flags, self.session, self.packet, self.sequence, self.lane, length)
        crc = zlib.crc32(self.payload, zlib.crc32(head))
        return b"".join((prefix, head, self.payload, _LENGTH.pack(crc)))


def decode_frame(raw: bytes, max_frame: int = MAX_FRAME_BYTES) -> Frame:
    """Read the bytes of one frame.

    Args:
        raw: Exactly one frame.
        max_frame: The longest payload allowed.

    Returns:
        The frame.

    Raises:
        WireError: Any bit of it is wrong.
    """
    if len(raw) < _OVERHEAD:
        raise WireError(f"a frame of {len(raw)} bytes")
    first, flags, session, packet, sequence, lane, length = _HEADER.unpack_from(raw)
    size = int.from_bytes(length, "big")
    if size > max_frame or len(raw) != _OVERHEAD + size:
        raise WireError(f"a frame of {len(raw)} bytes that claims {size}")
    view = memoryview(raw)
    if zlib.crc32(view[: -_LENGTH.size]) != _LENGTH.unpack_from(raw, len(raw) - _LENGTH.size)[0]:
        raise WireError("a frame whose checksum is wrong")
    if first >> 4 != PROTOCOL[1] or first & 15 > TUNE or flags & 0xF0 or lane > EVENTS or session == 0:
        raise WireError(f"a frame with header {bytes(view[: _HEADER.size]).hex()}")
    return Frame(first & 15, flags, session, packet, sequence, lane, raw[_HEADER.size : -_LENGTH.size])


class StreamReader:
    """Bytes of a stream link -> frames, however the stream is cut; holds at most one frame.

    Args:
        max_frame: The longest payload allowed.
    """

    def __init__(self, max_frame: int = MAX_FRAME_BYTES) -> None:
        self.max_frame = max_frame
        self._buffer = bytearray()
        self._packet = 0

    def feed(self, data: bytes) -> List[Frame]:
        """Take bytes and return the frames that they complete.

        Args:
            data: The next bytes of the stream.

        Returns:
            Whole frames, in order.

        Raises:
            WireError: A length, checksum or packet number is wrong; the stream cannot be read any further.
        """
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer, start)[0]
            if not _OVERHEAD <= size <= _OVERHEAD + self.max_frame:
                raise WireError(f"a frame that claims {size} bytes")
            end = start + _LENGTH.size + size
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                raw = bytes(view[start + _LENGTH.size : end])
            frames.append(self._accept(raw))
            start = end
        del self._buffer[:start]
        return frames

    def _accept(self, raw: bytes) -> Frame:
        frame = decode_frame(raw, self.max_frame)
        if frame.packet != self._packet:
            raise WireError(f"packet {frame.packet} where {self._packet} was due")
        self._packet = (self._packet + 1) & 0xFFFF
        return frame


class Lanes:
    """Frames -> messages: joins the fragments of each lane and holds at most one message of each."""

    def __init__(self) -> None:
        self._parts = {lane: bytearray() for lane in LANES_BY_URGENCY}
        self._open = dict.fromkeys(LANES_BY_URGENCY, False)
        self._sequence = dict.fromkeys(LANES_BY_URGENCY, 0)

    def accept(self, frame: Frame) -> Optional[Message]:
        """Take a DATA frame and return the message that it completes, if it does.

        Args:
            frame: The next frame of its lane.

        Returns:
            A message, or None.

        Raises:
            WireError: Its number or its flags do not follow from the last one, or the message is too long.
        """
        lane = frame.lane
        if frame.sequence != self._sequence[lane]:
            raise WireError(f"lane {lane}: frame {frame.sequence} where {self._sequence[lane]} was due")
        self._sequence[lane] = (frame.sequence + 1) & 0xFFFF
        if bool(frame.flags & FIRST) == self._open[lane]:
            raise WireError(f"lane {lane}: a message within a message")
        if not self._open[lane] and frame.flags & LAST:
            return decode_message(frame.payload)
        parts = self._parts[lane]
        if len(parts) + len(frame.payload) > MAX_MESSAGE_BYTES:
            raise WireError(f"lane {lane}: a message over the limit")
        parts += frame.payload
        self._open[lane] = not frame.flags & LAST
        if self._open[lane]:
            return None
        message = decode_message(bytes(parts))
        parts.clear()
        return message


class StreamWriter:
    """Messages -> bytes of a stream link, the most urgent lane first.

    Args:
        session: The session's id; 0 until the host has said it.
        max_frame: The longest payload that the other side takes.
    """

    def __init__(self, session: int = 0, max_frame: int = MAX_FRAME_BYTES) -> None:
        self.session, self.max_frame = session, max_frame
        self._packet = 0
        self._sequence = dict.fromkeys(LANES_BY_URGENCY, 0)
        self._signals: Deque[Tuple[int, bytes]] = deque()
        self._waiting: Dict[int, Deque[Tuple[int, bytes]]] = {lane: deque() for lane in LANES_BY_URGENCY}
        self.waiting_bytes = 0

    def post(self, message: Message) -> None:
        """Queue a message."""
        raw = message.encode()
        starts = range(0, len(raw), self.max_frame)
        for start in starts:
            flags = (FIRST if start == 0 else 0) | (LAST if start == starts[-1] else 0)
            self._waiting[message.lane].append((flags, raw[start : start + self.max_frame]))
        self.waiting_bytes += len(raw)

    def signal(self, kind: int, payload: bytes = b"") -> None:
        """Queue a frame that is no DATA: it overtakes every message."""
        self._signals.append((kind, payload))
        self.waiting_bytes += len(payload) + 1

    def take(self) -> bytes:
        """Return the bytes of the next frame to send; b"" when nothing waits."""
        if self._signals:
            kind, payload = self._signals.popleft()
            self.waiting_bytes -= len(payload) + 1
            return self._number(kind, 0, 0, CONTROL, payload)
        for lane in LANES_BY_URGENCY:
            if self._waiting[lane]:
                flags, payload = self._waiting[lane].popleft()
                self.waiting_bytes -= len(payload)
                sequence = self._sequence[lane]
                self._sequence[lane] = (sequence + 1) & 0xFFFF
                return self._number(DATA, flags, sequence, lane, payload)
        return b""

    def _number(self, kind: int, flags: int, sequence: int, lane: int, payload: bytes) -> bytes:
        frame = Frame(kind, flags, self.session, self._packet, sequence, lane, payload)
        self._packet = (self._packet + 1) & 0xFFFF
        return frame.encode(_LENGTH.pack(_OVERHEAD + len(payload)))
