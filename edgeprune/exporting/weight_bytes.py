"""Where in a model file the tensors of weights lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass

LEAST_BYTES = 64
"""Smaller tensors are not worth a section of their own."""
_TFLITE_WIDTHS = {0: 4, 1: 2, 2: 4, 3: 1, 7: 2, 9: 1}
"""TensorType of the schema to bytes an element: float32, float16, int32, uint8, int16, int8."""


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """One tensor.

    Attributes:
        start: Offset of its first byte.
        length: In bytes, a multiple of
        width: bytes an element: 1, 2 or 4.
    """

    start: int
    length: int
    width: int


def weights_of(content: bytes, format_name: str) -> list[WeightBytes]:
    """Find the tensors of a model file.

    Args:
        content: A whole file, known to be one.
        format_name: "onnx" or "tflite".

    Returns:
        In the order of the file, without overlap.
    """
    try:
        return onnx_weights(content) if format_name == "onnx" else tflite_weights(content)
    except struct.error:  # a flatbuffer that LiteRT reads and we do not: what is not found is only packed less well
        return []


def onnx_weights(content: bytes) -> list[WeightBytes]:
    """Find the initializers of an ONNX file that are held as raw bytes.

    Args:
        content: The file.

    Returns:
        In the order of the file.
    """
    import onnx

    widths = {
        onnx.TensorProto.FLOAT: 4, onnx.TensorProto.FLOAT16: 2, onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1,
        onnx.TensorProto.INT32: 4,
    }  # fmt: skip
    found, at = [], 0
    for tensor in onnx.ModelProto.FromString(content).graph.initializer:
        start = content.find(tensor.raw_data, at) if tensor.data_type in widths else -1
        if start >= 0 and len(tensor.raw_data) >= LEAST_BYTES:
            at = start + len(tensor.raw_data)
            found.append(WeightBytes(start, len(tensor.raw_data), widths[tensor.data_type]))
    return found


def tflite_weights(content: bytes) -> list[WeightBytes]:
    """Find the buffers of a TFLite file that hold tensors.

    Args:
        content: A whole file, known to be one.

    Returns:
        In the order of the file.

    Source:
        The schema: tensorflow/compiler/mlir/lite/schema/schema.fbs; the encoding: flatbuffers.dev, "Internals".
    """
    model = _Table.root(content)
    widths = {
        tensor.number("<I", 2): _TFLITE_WIDTHS.get(tensor.number("<b", 1))
        for graph in model.tables(2)
        for tensor in graph.tables(0)
    }
    found = []
    for number, buffer in enumerate(model.tables(4)):
        width = widths.get(number)
        start, length = buffer.vector(0)
        if width and length >= LEAST_BYTES and length % width == 0:
            found.append(WeightBytes(start, length, width))
    return sorted(found, key=lambda place: place.start)


@dataclass(frozen=True, slots=True)
class _Table:
    """A flatbuffer's table: fields found by number through its vtable; what is not there reads as zero."""

    content: bytes
    at: int

    @classmethod
    def root(cls, content: bytes) -> _Table:
        return cls(content, struct.unpack_from("<I", content)[0])

    def number(self, form: str, field: int) -> int:
        place = self._place(field)
        return int(struct.unpack_from(form, self.content, place)[0]) if place else 0

    def vector(self, field: int) -> tuple[int, int]:
        """Return where the first element of a vector lies, and how many there are."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + struct.unpack_from("<I", self.content, place)[0]
        return start + 4, struct.unpack_from("<I", self.content, start)[0]

    def tables(self, field: int) -> list[_Table]:
        start, count = self.vector(field)
        places = range(start, start + 4 * count, 4)
        return [_Table(self.content, at + struct.unpack_from("<I", self.content, at)[0]) for at in places]

    def _place(self, field: int) -> int:
        vtable = self.at - struct.unpack_from("<i", self.content, self.at)[0]
        length = struct.unpack_from("<H", self.content, vtable)[0]
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self.content, vtable + slot)[0] if slot < length else 0
        return self.at + offset if offset else 0
