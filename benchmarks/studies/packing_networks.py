"""The networks of the packing study, and their data from files in the IDX format."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 128


def lenet_300_100() -> nn.Module:
    """Return the fully connected LeNet of Deep Compression: 266 610 parameters."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def lenet_5() -> nn.Module:
    """Return the convolutional LeNet as Caffe has it, which is the one of Deep Compression: 431 080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def small_vgg() -> nn.Module:
    """Return a network of VGG's form for 28 x 28 pixels: six convolutions, three linear layers."""
    layers: list[nn.Module] = []
    width = 1
    for wider in (16, 32, 64):
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(wider, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    head = [nn.Linear(576, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


@dataclass(frozen=True, slots=True)
class Images:
    """Images in the form (n, 1, 28, 28), zero mean and unit spread over all pixels of the training images.

    Attributes:
        x: For training, with
        y: their classes.
        test_x: For the test, with
        test_y: their classes.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test images that a model gets right."""
        model.eval()
        parts = zip(self.test_x.split(1000), self.test_y.split(1000), strict=True)
        with torch.no_grad():
            return sum(int((model(x).argmax(1) == y).sum()) for x, y in parts) / len(self.test_y)


class Shuffled:
    """The training images in batches, in a new order each time they are read; the same orders for the same seed.

    Args:
        images: Whose.
        seed: Of the orders.
    """

    def __init__(self, images: Images, seed: int) -> None:
        self._images = images
        self._order = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._images.x) // BATCH

    def __iter__(self):  # noqa: ANN204  (an iterator of pairs of tensors)
        order = torch.randperm(len(self._images.x), generator=self._order)
        for part in order[: len(self) * BATCH].split(BATCH):
            yield self._images.x[part], self._images.y[part]


def read_images(folder: Path) -> Images:
    """Read MNIST or Fashion-MNIST.

    Args:
        folder: Holds the four files in the IDX format, packed by gzip or not.

    Returns:
        All 60 000 and 10 000 images.
    """
    x, y, test_x, test_y = (
        _idx(folder, name) for name in ("train-images", "train-labels", "t10k-images", "t10k-labels")
    )
    pixels = x.float()
    mean, spread = pixels.mean(), pixels.std()
    scaled = [((part.float() - mean) / spread).unsqueeze(1) for part in (x, test_x)]
    return Images(scaled[0], y.long(), scaled[1], test_y.long())


def _idx(folder: Path, name: str) -> Tensor:
    (path,) = folder.glob(f"{name}*ubyte*")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return torch.from_numpy(np.frombuffer(data, np.uint8, -1, 4 + 4 * data[3]).reshape(shape).copy())
