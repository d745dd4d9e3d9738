"""Unpacks a model file that travelled or was kept in packed form; docs/packing.md has the layout.

Never more than a piece of the file is in memory besides the packed bytes, whatever they promise: each stream is
unpacked as far as it is asked for, and the reader counts what it makes.
"""

import struct
import zlib
from typing import Iterator, List, NamedTuple, Tuple

MAGIC = b"EPK1"
HEAD = struct.Struct(">4s32sQII")
SECTION = struct.Struct(">IIIBB")
MAX_PACKED_BYTES = 64 << 20
JUMP = 255
"""A gap of so many elements after which no element stands."""
DENSE = (1 << 32) - 1
"""In place of the number of gaps: every element has a code."""
PIECE_BYTES = 64 * 1024
_GAPS = 512
_FEED_BYTES = 1024
_WIDTHS = (1, 2, 4)
_FOREIGN = "not a whole packed model"


class PackedError(ValueError):
    """The bytes are no packed model."""


class Head(NamedTuple):
    """What a packed file says of the model file in it."""

    sha: str
    size: int


def read_head(packed: bytes) -> Head:
    """Read what comes out of a packed file.

    Args:
        packed: The whole file.

    Returns:
        Digest and size; nothing proves them but the unpacked bytes.

    Raises:
        PackedError: It is no packed file.
    """
    head, _ = _split(packed)
    return head


def pieces(packed: bytes) -> Iterator[bytes]:
    """Unpack a model file.

    Args:
        packed: The whole file.

    Yields:
        The model file, piece by piece; together as many bytes as the head says.

    Raises:
        PackedError: It is no whole packed file. What was yielded before is worth nothing.
    """
    head, streams = _split(packed)
    left, sections = head.size, _sections(*streams)
    try:
        while left:
            piece = next(sections)
            left -= len(piece)
            if left < 0:
                raise PackedError(_FOREIGN)
            yield piece
    except (zlib.error, IndexError, struct.error) as error:
        raise PackedError(_FOREIGN) from error


def _split(packed: bytes) -> Tuple[Head, "List[_Stream]"]:
    if len(packed) < HEAD.size or not packed.startswith(MAGIC):
        raise PackedError(_FOREIGN)
    _, sha, size, plain, gaps = HEAD.unpack_from(packed)
    starts = [HEAD.size, HEAD.size + plain, HEAD.size + plain + gaps]
    return Head(sha.hex(), size), [_Stream(packed[a:b]) for a, b in zip(starts, [*starts[1:], len(packed)])]


class _Stream:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)

    def take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            given = self._unpacker.unconsumed_tail
            if not given:  # little at a time: what is not asked for yet is copied
                given = self._data[self._at : self._at + _FEED_BYTES]
                self._at += len(given)
            piece = self._unpacker.decompress(given, count - len(taken))
            if not piece and not given:
                raise PackedError(_FOREIGN)
            taken += piece
        return taken

    def pieces(self, count: int, size: int) -> Iterator[bytes]:
        for start in range(0, count, size):
            yield self.take(min(size, count - start))


def _sections(plain: _Stream, gaps: _Stream, codes: _Stream) -> Iterator[bytes]:
    # Without end: the caller stops when it has what it was promised.
    while True:
        literal, elements, n_gaps, width, kinds = SECTION.unpack(plain.take(SECTION.size))
        if width not in _WIDTHS or not literal + elements:
            raise PackedError(_FOREIGN)
        yield from plain.pieces(literal, PIECE_BYTES)
        values = [plain.take(width) for _ in range(kinds + 1)] if elements else []
        runs = [values[0] * count for count in range(JUMP + 1)] if elements else []
        if n_gaps == DENSE:
            for marks in codes.pieces(elements, _GAPS):
                yield b"".join(map(values.__getitem__, marks))
            continue
        for jumps in gaps.pieces(n_gaps, _GAPS):
            marks = codes.take(len(jumps) - jumps.count(JUMP))
            elements -= sum(jumps) + len(marks)
            marked = map(values.__getitem__, marks)
            yield b"".join([runs[jump] if jump == JUMP else runs[jump] + next(marked) for jump in jumps])
        if elements < 0:
            raise PackedError(_FOREIGN)
        for start in range(0, elements, PIECE_BYTES):
            yield values[0] * min(PIECE_BYTES, elements - start)
