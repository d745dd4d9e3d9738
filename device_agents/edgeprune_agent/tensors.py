"""safetensors files <-> named tensors, with the standard library alone: how arrays travel and rest.

Little-endian: u64 length of the header | JSON header | the tensors' bytes, without gaps.

Source:
    safetensors format, "Format" section of its README, version 0.4.
"""

import json
import os
import re
import struct
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

MAX_FILE_BYTES = 256 << 20
"""Files above this are refused: they are read as a whole, on boards with little memory."""
_MAX_HEADER_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")

DTYPES = {
    "float64": ("F64", 8), "float32": ("F32", 4), "float16": ("F16", 2),
    "int64": ("I64", 8), "int32": ("I32", 4), "int16": ("I16", 2), "int8": ("I8", 1),
    "uint64": ("U64", 8), "uint32": ("U32", 4), "uint16": ("U16", 2), "uint8": ("U8", 1), "bool": ("BOOL", 1),
}  # fmt: skip
"""numpy's name of a dtype to safetensors' name and the size of one element."""
_BY_CODE = {code: (name, size) for name, (code, size) in DTYPES.items()}


class TensorFileError(Exception):
    """A file is no safetensors file, or one that we do not take."""


class Tensor(NamedTuple):
    """A named array as bytes.

    Attributes:
        name: Its name in the file.
        dtype: numpy's name.
        shape: Sizes of its dimensions.
        data: Its elements, row-major, little-endian.
    """

    name: str
    dtype: str
    shape: Tuple[int, ...]
    data: Any


def read_tensors(path: str, limit_bytes: int = MAX_FILE_BYTES) -> List[Tensor]:
    """Read all tensors of a file.

    Args:
        path: The file.
        limit_bytes: Larger files are refused.

    Returns:
        The tensors in the order of their bytes; each is a view into one buffer.

    Raises:
        TensorFileError: The file is too large, or not what it claims to be.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise TensorFileError("{} bytes of tensors are more than the {} allowed".format(size, limit_bytes))
        content = file.read(limit_bytes + 1)
    return parse_tensors(content)


def parse_tensors(content: bytes) -> List[Tensor]:
    """Read the tensors of a file's bytes.

    Args:
        content: The whole file.

    Returns:
        The tensors in the order of their bytes, as views into `content`.

    Raises:
        TensorFileError: The bytes are no safetensors file.
    """
    header, start = _header(content)
    body = memoryview(content)[start:]
    entries = sorted(((_span(entry), name, entry) for name, entry in header.items()), key=lambda item: item[:2])
    tensors, position = [], 0
    for (begin, end), name, entry in entries:
        if begin != position:
            raise TensorFileError("the bytes of {!r} do not follow those before".format(name))
        tensors.append(_tensor(name, entry, body[begin:end]))
        position = end
    if position != len(body):
        raise TensorFileError("{} bytes belong to no tensor".format(len(body) - position))
    return tensors


def _header(content: bytes) -> Tuple[Dict[str, Any], int]:
    if len(content) < _LENGTH.size:
        raise TensorFileError("no header")
    length = _LENGTH.unpack_from(content)[0]
    start = _LENGTH.size + length
    if length > _MAX_HEADER_BYTES or start > len(content):
        raise TensorFileError("a header of {} bytes".format(length))
    try:
        header = json.loads(content[_LENGTH.size : start].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise TensorFileError("the header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError("the header is not an object")
    header.pop("__metadata__", None)
    return header, start


def _span(entry: Any) -> Tuple[int, int]:
    offsets: Any = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        raise TensorFileError("an entry without a span of bytes")
    return offsets[0], offsets[1]


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _tensor(name: str, entry: Dict[str, Any], data: memoryview) -> Tensor:
    code, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(code, str) or code not in _BY_CODE:
        raise TensorFileError("{!r} has the unknown dtype {!r}".format(name, code))
    if not isinstance(shape, list) or not _are_counts(shape) or len(shape) > 16:
        raise TensorFileError("{!r} has no valid shape".format(name))
    dtype, item_bytes = _BY_CODE[code]
    if _size(shape) * item_bytes != len(data):
        raise TensorFileError("{!r} has {} bytes, which its shape {} does not take".format(name, len(data), shape))
    return Tensor(name, dtype, tuple(shape), data)


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def write_tensors(path: str, tensors: Iterable[Tensor]) -> None:
    """Write a file and make it durable.

    Args:
        path: Where; an existing file is replaced in one step.
        tensors: What.

    Raises:
        TensorFileError: The bytes of a tensor do not fit its shape.
    """
    tensors = list(tensors)
    header, position = {}, 0
    for tensor in tensors:
        code, item_bytes = DTYPES[tensor.dtype]
        length = memoryview(tensor.data).nbytes
        if length != _size(tensor.shape) * item_bytes:
            raise TensorFileError("{!r} has {} bytes for shape {}".format(tensor.name, length, tensor.shape))
        header[tensor.name] = {
            "dtype": code, "shape": list(tensor.shape), "data_offsets": [position, position + length],
        }  # fmt: skip
        position += length
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for tensor in tensors:
            file.write(tensor.data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def numbered(tensors: Iterable[Tensor], prefix: str) -> List[Tensor]:
    """Return the tensors `<prefix>_0`, `<prefix>_1`, … in the order of their numbers.

    Args:
        tensors: Of one file.
        prefix: "input" or "output".

    Returns:
        Those tensors; other names are left out.

    Raises:
        TensorFileError: A number is missing.
    """
    pattern = re.compile(prefix + "_(0|[1-9][0-9]{0,3})")
    found = {}
    for tensor in tensors:
        match = pattern.fullmatch(tensor.name)
        if match:
            found[int(match.group(1))] = tensor
    if sorted(found) != list(range(len(found))):
        raise TensorFileError("the {}s are not numbered from 0 without gaps".format(prefix))
    return [found[number] for number in range(len(found))]
