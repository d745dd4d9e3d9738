"""A model file -> the packed file that travels and is archived; lossless, and checked by unpacking it again.

Tensors of few different values (pruned and shared weights, integers) are written as the gaps between the elements that
are not the commonest value, and as the numbers of their values in a table. Both go through zlib's Huffman coder, with
codes of their own for each tensor; what is left of the file goes through zlib as it is. Layout: docs/packing.md.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from edgeprune_agent.wire import packed_model
from numpy.typing import NDArray

from edgeprune.errors import ArtifactError, ExportError
from edgeprune.exporting.loading import read_verified
from edgeprune.exporting.storage import write_atomically
from edgeprune.exporting.weight_bytes import WeightBytes, weights_of
from edgeprune.values.artifact import Artifact
from edgeprune.values.packing import Packed

SUFFIX = ".packed"
MAX_VALUES = 256
_WORTH_A_TABLE = 4
"""A tensor needs so many elements for each value of its table."""
_SPARSE = 0.5
"""A tensor with a larger share of elements beside the commonest value is written without gaps."""
_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def pack_artifact(artifact: Artifact, path: Path | None = None) -> Packed:
    """Pack a model file into a file beside it.

    Args:
        artifact: Of a file that has not changed since.
        path: Of the packed file; None for the artifact's with `.packed` behind it.

    Returns:
        Both sizes and digests.

    Raises:
        ExportError: What was packed did not come out again; nothing is written.
    """
    content = read_verified(artifact)
    packed = pack(content, weights_of(content, artifact.format))
    path = path or artifact.path.with_name(artifact.path.name + SUFFIX)
    write_atomically(path, packed)
    return Packed(path, hashlib.sha256(packed).hexdigest(), len(packed), artifact.sha256, len(content))


def unpack(packed: bytes) -> bytes:
    """Unpack a model file, as the agent does.

    Args:
        packed: The packed file.

    Returns:
        The model file, its digest checked.

    Raises:
        ArtifactError: It is no whole packed file, or what comes out is not what its head says.
    """
    step = "Pack the model again, or copy the packed file again."
    try:
        content = b"".join(packed_model.pieces(packed))
    except packed_model.PackedError as error:
        raise ArtifactError(f"These {len(packed)} bytes are {error}.", step) from error
    if hashlib.sha256(content).hexdigest() != packed_model.read_head(packed).sha:
        raise ArtifactError("The unpacked model does not have the SHA-256 that its packed file names.", step)
    return content


def pack(content: bytes, weights: Iterable[WeightBytes] = ()) -> bytes:
    """Pack a file.

    Args:
        content: Any bytes.
        weights: Where its tensors lie; they do not overlap.

    Returns:
        The packed file.

    Raises:
        ExportError: It did not come out again.
    """
    draft, at = _Draft(), 0
    for place in sorted(weights, key=lambda place: place.start):
        table = _tabled(content, place)
        if table is not None:
            draft.add(content[at : place.start], table)
            at = place.start + place.length
    draft.add(content[at:], None)
    packed = draft.finish(content)
    if unpack(packed) != content:
        raise ExportError("The packed file does not unpack to the model.", "Please report the model.")
    return packed


@dataclass(frozen=True, slots=True)
class _Table:
    """A tensor as its different values, the commonest first, and the number of its value for each element."""

    values: NDArray[np.unsignedinteger]
    codes: NDArray[np.int64]


def _tabled(content: bytes, place: WeightBytes) -> _Table | None:
    """Return a tensor as a table and codes; None where it has too many values to be worth one."""
    elements = np.frombuffer(content, _WORDS[place.width], place.length // place.width, place.start)
    values, counts = np.unique(elements, return_counts=True)
    if not 0 < len(values) <= min(MAX_VALUES, len(elements) // _WORTH_A_TABLE):
        return None
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return _Table(values[order], rank[np.searchsorted(values, elements)])


@dataclass(slots=True)
class _Draft:
    """The three streams of a packed file, as they grow."""

    plain: list[bytes] = field(default_factory=list)
    gaps: list[bytes] = field(default_factory=list)
    codes: list[bytes] = field(default_factory=list)

    def add(self, literal: bytes, table: _Table | None) -> None:
        """Append bytes as they are, and a tensor behind them."""
        if table is None:
            if literal:
                self.plain += [packed_model.SECTION.pack(len(literal), 0, 0, 1, 0), literal]
            return
        marked = np.flatnonzero(table.codes)
        gaps, n_gaps = b"", packed_model.DENSE
        if len(marked) < _SPARSE * len(table.codes):
            gaps = _gap_bytes(np.diff(marked, prepend=-1) - 1)
            n_gaps = len(gaps)
        codes = table.codes if n_gaps == packed_model.DENSE else table.codes[marked]
        width, kinds = table.values.itemsize, len(table.values) - 1
        head = packed_model.SECTION.pack(len(literal), len(table.codes), n_gaps, width, kinds)
        self.plain += [head, literal, table.values.tobytes()]
        self.gaps.append(gaps)
        self.codes.append(codes.astype(np.uint8).tobytes())

    def finish(self, content: bytes) -> bytes:
        """Return the packed file."""
        plain = _deflated([b"".join(self.plain)], zlib.Z_DEFAULT_STRATEGY)
        gaps, codes = (_deflated(stream, zlib.Z_HUFFMAN_ONLY) for stream in (self.gaps, self.codes))
        digest = hashlib.sha256(content).digest()
        head = packed_model.HEAD.pack(packed_model.MAGIC, digest, len(content), len(plain), len(gaps))
        return head + plain + gaps + codes


def _gap_bytes(gaps: NDArray[np.int64]) -> bytes:
    # Each gap as so many jumps and one byte below a jump.
    jumps, rest = np.divmod(gaps, packed_model.JUMP)
    out = np.full(len(gaps) + int(jumps.sum()), packed_model.JUMP, np.uint8)
    out[np.cumsum(jumps + 1) - 1] = rest
    return out.tobytes()


def _deflated(parts: Sequence[bytes], strategy: int) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    made = [coder.compress(part) + coder.flush(zlib.Z_BLOCK) for part in parts]
    return b"".join(made) + coder.flush()
