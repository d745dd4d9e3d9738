"""EPL/1, the language between host and agent: frames, messages, limits, error codes. Pure: no I/O, no clock.

docs/wire.md fixes the bytes. Both ends import this module and no other of each other's; whatever bytes come in,
it raises nothing but `WireError`.
"""

import json
import re
import struct
import zlib
from collections import deque
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

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

HELLO, DATA, ACK, PING, PONG, RESET, BYE = range(7)
FIRST, LAST, ACK_NOW, RETX = 1, 2, 4, 8
CONTROL, BULK, EVENTS = range(3)
LANES_BY_URGENCY = (CONTROL, EVENTS, BULK)
REQ, RES, ERR, EVT, CANCEL, CHUNK, CREDIT = range(1, 8)
JSON, RAW, ZLIB = range(3)

ERROR_CODES = frozenset({
    "E_VERSION", "E_UNKNOWN", "E_ARG", "E_LIMIT", "E_BUSY", "E_FENCED", "E_LEASE", "E_NOSPC", "E_QUOTA", "E_HASH",
    "E_OFFSET", "E_NOTFOUND", "E_CANCELLED", "E_TIMEOUT", "E_RUNNER", "E_IO", "E_INTERNAL",
})  # fmt: skip
LEASED_OPS = frozenset({
    "lease.renew", "lease.release", "store.open", "store.commit", "run.start", "run.cancel", "release.stage",
    "release.switch", "release.rollback", "release.remove", "release.record",
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

_HEADER = struct.Struct(">BBHHHB3s")
_LENGTH = struct.Struct(">I")
_MESSAGE = struct.Struct(">BBI")
_OFFSET = struct.Struct(">Q")
_CREDIT = struct.Struct(">QQ")
_OVERHEAD = _HEADER.size + _LENGTH.size
CHUNK_BYTES = MAX_FRAME_BYTES - _MESSAGE.size - _OFFSET.size
"""The most that a CHUNK can hold and still be one frame."""
_JSON_STRINGS = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
"""Also matches a string that never ends, so that it never has to go back."""


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


def encode_json(data: Dict[str, Any]) -> bytes:
    """Return the JSON of a message body.

    Args:
        data: JSON data without NaN or infinities.

    Returns:
        ASCII bytes.

    Raises:
        WireError: It is no JSON data, or longer than a message may be.
    """
    try:
        body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"not JSON data: {error}") from error
    if len(body) > MAX_JSON_BYTES:
        raise WireError(f"a JSON body of {len(body)} bytes is over the limit")
    return body


def decode_json(body: bytes) -> Dict[str, Any]:
    """Read a JSON object within the limits on size, depth and numbers.

    Args:
        body: Bytes from the other side.

    Returns:
        The object.

    Raises:
        WireError: It is anything else.
    """
    if len(body) > MAX_JSON_BYTES:
        raise WireError(f"a JSON body of {len(body)} bytes is over the limit")
    _check_depth(body)
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise WireError("a JSON body that is no object")
    return data


def _check_depth(body: bytes) -> None:
    # Before the parser runs, since it would recurse once a level.
    depth = 0
    for byte in _JSON_STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise WireError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")
        elif byte in b"]}":
            depth -= 1


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large")
    return value


class Message(NamedTuple):
    """One message; the body is as it travels, `content` and `data` read it."""

    type: int
    request: int
    body: bytes
    codec: int = JSON

    @property
    def lane(self) -> int:
        """The lane it travels on: what is long never holds up what is urgent."""
        if self.type == EVT:
            return EVENTS
        return BULK if self.type == CHUNK or (self.type == RES and self.codec == RAW) else CONTROL

    def encode(self) -> bytes:
        """Return its bytes, to be cut into frames."""
        return _MESSAGE.pack(self.type, self.codec, self.request) + self.body

    def content(self) -> bytes:
        """Return the body, unpacked within the limit of a message.

        Raises:
            WireError: It does not unpack, or to more than a message may hold.
        """
        if self.codec != ZLIB:
            return self.body
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(self.body, MAX_MESSAGE_BYTES)
        except zlib.error as error:
            raise WireError(f"a body that does not unpack: {error}") from error
        if not unpacker.eof or unpacker.unused_data:
            raise WireError("a packed body that is over the limit, cut short or has a tail")
        return content

    def data(self) -> Dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            WireError: It is none.
        """
        if self.codec == RAW:
            raise WireError("a raw body where JSON belongs")
        return decode_json(self.content())


def decode_message(raw: bytes) -> Message:
    """Read the bytes of one message.

    Args:
        raw: The payloads of its frames, joined.

    Returns:
        The message.

    Raises:
        WireError: It is too short, or of an unknown type or codec.
    """
    if len(raw) < _MESSAGE.size:
        raise WireError(f"a message of {len(raw)} bytes")
    kind, codec, request = _MESSAGE.unpack_from(raw)
    if not REQ <= kind <= CREDIT or codec > ZLIB:
        raise WireError(f"a message of type {kind} and codec {codec}")
    return Message(kind, request, bytes(raw[_MESSAGE.size :]), codec)


def json_message(kind: int, request: int, data: Dict[str, Any]) -> Message:
    """Return a message with a JSON body."""
    return Message(kind, request, encode_json(data))


def chunk_message(request: int, offset: int, data: bytes) -> Message:
    """Return a CHUNK: bytes of an upload and where they belong."""
    return Message(CHUNK, request, _OFFSET.pack(offset) + data, RAW)


def read_chunk(message: Message) -> Tuple[int, bytes]:
    """Return the offset and the bytes of a CHUNK.

    Raises:
        WireError: It is too short to have an offset.
    """
    content = message.content()
    if len(content) < _OFFSET.size:
        raise WireError("a chunk without an offset")
    return _OFFSET.unpack_from(content)[0], content[_OFFSET.size :]


def credit_message(request: int, received: int, durable: int) -> Message:
    """Return a CREDIT: how much of an upload has come, and how much of it a power cut would leave."""
    return Message(CREDIT, request, _CREDIT.pack(received, durable), RAW)


def read_credit(message: Message) -> Tuple[int, int]:
    """Return the bytes received and durable.

    Raises:
        WireError: It has another length.
    """
    if len(message.body) != _CREDIT.size:
        raise WireError(f"a credit of {len(message.body)} bytes")
    received, durable = _CREDIT.unpack(message.body)
    return received, durable


class Frame(NamedTuple):
    """One frame; the fields are those of docs/wire.md."""

    kind: int
    flags: int
    session: int
    packet: int
    sequence: int
    lane: int
    payload: bytes

    def encode(self) -> bytes:
        """Return its bytes: header, payload, CRC."""
        first = PROTOCOL[1] << 4 | self.kind
        length = len(self.payload).to_bytes(3, "big")
        head = _HEADER.pack(first, self.flags, self.session, self.packet, self.sequence, self.lane, length)
        crc = zlib.crc32(self.payload, zlib.crc32(head))
        return b"".join((head, self.payload, _LENGTH.pack(crc)))


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
    if first >> 4 != PROTOCOL[1] or first & 15 > BYE or flags & 0xF0 or lane > EVENTS or session == 0:
        raise WireError(f"a frame with header {bytes(view[: _HEADER.size]).hex()}")
    return Frame(first & 15, flags, session, packet, sequence, lane, bytes(view[_HEADER.size : -_LENGTH.size]))


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
            frames.append(self._accept(bytes(self._buffer[start + _LENGTH.size : end])))
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
        raw = Frame(kind, flags, self.session, self._packet, sequence, lane, payload).encode()
        self._packet = (self._packet + 1) & 0xFFFF
        return _LENGTH.pack(len(raw)) + raw
