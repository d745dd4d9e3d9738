"""Pictures and labels <-> one small checked file per split.

A file is an xz stream of all pictures, column by column, then all labels, one byte each. Clothes hang: neighbours
in a column are more alike than neighbours in a row, and xz then needs 359 bytes a picture instead of 374. Deltas
along rows or columns, PNG's and LOCO-I's predictors all came out larger than that (385 to 420 bytes).
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError, UnknownName

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""What the labels 0 to 9 stand for."""

SPLITS = ("train", "test")
CHECKSUMS = "SHA256SUMS"
SIDE = 28
_FOLDER = Path(__file__).parent
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "dict_size": 16 << 20}]


def file_name(split: str) -> str:
    """Return the name of a split's file."""
    return f"{split}.xz"


def pack(images: Images, labels: Labels) -> bytes:
    """Compress pictures and their labels.

    Args:
        images: uint8, (N, 28, 28).
        labels: Integers 0 to 9, (N,).

    Returns:
        The bytes of a file that `unpack` reads.
    """
    columns_first = np.ascontiguousarray(images.transpose(0, 2, 1))
    plain = columns_first.tobytes() + labels.astype(np.uint8).tobytes()
    return lzma.compress(plain, lzma.FORMAT_XZ, filters=_FILTERS)


def unpack(packed: bytes) -> tuple[Images, Labels]:
    """Undo `pack`.

    Args:
        packed: What `pack` returned.

    Returns:
        Pictures, uint8 (N, 28, 28), and labels, int64 (N,).
    """
    plain = np.frombuffer(lzma.decompress(packed), np.uint8)
    count = plain.size // (SIDE * SIDE + 1)
    columns_first, labels = np.split(plain, [count * SIDE * SIDE])
    images = columns_first.reshape(count, SIDE, SIDE).transpose(0, 2, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def load(split: str, folder: Path = _FOLDER) -> tuple[Images, Labels]:
    """Read one split, checked against its SHA-256.

    Args:
        split: "train" (12 000 pictures) or "test" (3 000, from the official test set), all classes equally often.
        folder: Where the files are; by default those that ship.

    Returns:
        Pictures, uint8 (N, 28, 28), and labels, int64 (N,), in a fixed shuffled order.

    Raises:
        UnknownName: There is no such split.
        DataError: The file is missing or is not the one that was packed.
    """
    if split not in SPLITS:
        raise UnknownName("split of Fashion-MNIST", split, SPLITS)
    path = folder / file_name(split)
    try:
        packed = path.read_bytes()
        expected = _checksums(folder)[path.name]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read with its checksum in {CHECKSUMS} ({error}).", _REINSTALL) from error
    if hashlib.sha256(packed).hexdigest() != expected:
        raise DataError(f"{path} was changed: its SHA-256 is not the one in {CHECKSUMS}.", _REINSTALL)
    return unpack(packed)


_REINSTALL = "Get the files anew: pip install --force-reinstall --no-deps edgeprune."


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` for the files of both splits, in the form that `sha256sum -c` reads."""
    digests = {
        file_name(split): hashlib.sha256((folder / file_name(split)).read_bytes()).hexdigest() for split in SPLITS
    }
    (folder / CHECKSUMS).write_text(
        "".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="ascii"
    )


def _checksums(folder: Path) -> dict[str, str]:
    lines = (folder / CHECKSUMS).read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}
