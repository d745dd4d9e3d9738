"""Messages: what one end says to the other, apart from how it is cut into frames."""

import struct
from typing import Any, Dict, NamedTuple, Tuple

from edgeprune_agent.wire.bodies import decode_json, encode_json
from edgeprune_agent.wire.packing import pack, unpack
from edgeprune_agent.wire.protocol import (
    BULK,
    CHUNK,
    CONTROL,
    CREDIT,
    EVENTS,
    EVT,
    JSON,
    MAX_FRAME_BYTES,
    RAW,
    REQ,
    RES,
    SHUFFLED,
    WireError,
)  # fmt: skip

_MESSAGE = struct.Struct(">BBI")
_OFFSET = struct.Struct(">Q")
_CREDIT = struct.Struct(">QQ")
CHUNK_BYTES = MAX_FRAME_BYTES - _MESSAGE.size - _OFFSET.size
"""The most that a CHUNK can hold and still be one frame."""


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
        return self.body if self.codec in (JSON, RAW) else unpack(self.body, self.codec)

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
    if not REQ <= kind <= CREDIT or codec > SHUFFLED:
        raise WireError(f"a message of type {kind} and codec {codec}")
    return Message(kind, request, raw[_MESSAGE.size :], codec)


def json_message(kind: int, request: int, data: Dict[str, Any]) -> Message:
    """Return a message with a JSON body."""
    return Message(kind, request, encode_json(data))


def chunk_message(request: int, offset: int, data: bytes, codec: int = RAW) -> Message:
    """Return a CHUNK: bytes of an upload and where they belong."""
    return Message(CHUNK, request, pack(_OFFSET.pack(offset) + data, codec), codec)


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
