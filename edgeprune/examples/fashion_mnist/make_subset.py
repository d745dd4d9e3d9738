"""Draw the balanced subset that ships from the full Fashion-MNIST.

    python -m edgeprune.examples.fashion_mnist.make_subset FOLDER

FOLDER holds the four official idx files, gzipped or not (Debian: /usr/share/datasets/fashion-mnist, from the package
dataset-fashion-mnist). Seed 0 and the default counts give the files that ship.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError
from edgeprune.examples.fashion_mnist.packing import (
    CLASSES,
    SIDE,
    SPLITS,
    Images,
    Labels,
    file_name,
    pack,
    write_checksums,
)

OFFICIAL = {"train": "train", "test": "t10k"}
"""Our name of a split to the one in the official file names."""

COUNTS = {"train": 12_000, "test": 3_000}
_MAGIC = {"images-idx3": (2051, 16), "labels-idx1": (2049, 8)}


def read_official(folder: Path, split: str) -> tuple[Images, Labels]:
    """Read one split of the full set.

    Args:
        folder: Where the official idx files are.
        split: "train" or "test".

    Returns:
        Pictures, uint8 (N, 28, 28), and labels, int64 (N,).

    Raises:
        DataError: A file is missing or is no such idx file.
    """
    images = _read_idx(folder, OFFICIAL[split], "images-idx3").reshape(-1, SIDE, SIDE)
    labels = _read_idx(folder, OFFICIAL[split], "labels-idx1").astype(np.int64)
    if len(images) != len(labels):
        raise DataError(
            f"{folder} holds {len(images)} pictures but {len(labels)} labels for {split}.", "Download the set anew."
        )
    return images, labels


def _read_idx(folder: Path, official: str, kind: str) -> npt.NDArray[np.uint8]:
    path = folder / f"{official}-{kind}-ubyte"
    zipped = path.with_name(path.name + ".gz")
    try:
        content = gzip.decompress(zipped.read_bytes()) if zipped.exists() else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"Cannot read {path}[.gz]: {error}.", "Give the folder with the official idx files.") from error
    magic, header_bytes = _MAGIC[kind]
    if int.from_bytes(content[:4], "big") != magic:
        raise DataError(f"{path}[.gz] is no idx file of that kind.", "Download the set anew.")
    return np.frombuffer(content, np.uint8, offset=header_bytes)


def draw(images: Images, labels: Labels, count: int, seed: int) -> tuple[Images, Labels]:
    """Draw equally many pictures of every class, without replacement, in shuffled order.

    Args:
        images: uint8 (N, 28, 28).
        labels: int64 (N,).
        count: How many to draw; a multiple of ten.
        seed: The same seed draws the same pictures.

    Returns:
        The drawn pictures and labels.

    Raises:
        DataError: A class has too few pictures.
    """
    generator = np.random.default_rng(seed)
    each = count // len(CLASSES)
    if np.bincount(labels, minlength=len(CLASSES)).min() < each:
        raise DataError(f"Some class has fewer than {each} pictures.", f"Draw fewer than {count}.")
    drawn = [generator.choice(np.flatnonzero(labels == name), each, replace=False) for name in range(len(CLASSES))]
    order = generator.permutation(np.concatenate(drawn))
    return images[order], labels[order]


def make(source: Path, into: Path, counts: dict[str, int], seed: int) -> None:
    """Write both splits and their checksums.

    Args:
        source: Where the official idx files are.
        into: An existing folder.
        counts: How many pictures to draw for "train" and for "test".
        seed: Of the drawing.
    """
    for split in SPLITS:
        subset = draw(*read_official(source, split), counts[split], seed)
        (into / file_name(split)).write_bytes(pack(*subset))
    write_checksums(into)


def main(arguments: list[str] | None = None) -> None:
    """Run the script.

    Args:
        arguments: Of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description="Draw a balanced subset of Fashion-MNIST.")
    parser.add_argument("source", type=Path, help="folder with the four official idx files")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--train", type=int, default=COUNTS["train"], help="training pictures, a multiple of ten")
    parser.add_argument("--test", type=int, default=COUNTS["test"], help="test pictures, a multiple of ten")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    make(given.source, given.into, {"train": given.train, "test": given.test}, given.seed)


if __name__ == "__main__":
    main()
