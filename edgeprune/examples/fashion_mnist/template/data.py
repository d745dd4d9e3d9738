"""Fashion-MNIST as batches of tensors.

EdgePrune takes anything that can be walked over again and again and yields (inputs, targets). A torch DataLoader
does; a list of batches, as here, is the simplest that does.
"""

from functools import cache

import torch
from edgeprune.examples.fashion_mnist import load
from torch import Tensor

BATCH = 64
MEAN, STD = 0.286, 0.353  # of the training pixels, scaled to 0..1

Batches = list[tuple[Tensor, Tensor]]


def train(seed: int = 0) -> Batches:
    """12 000 training pictures: inputs (B, 1, 28, 28) float32, targets (B,) int64; each seed has its own order."""
    inputs, targets = _tensors("train")
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    return _batches(inputs[order], targets[order])


def test() -> Batches:
    """3 000 test pictures, never trained on, always in the same order."""
    return _batches(*_tensors("test"))


@cache
def _tensors(split: str) -> tuple[Tensor, Tensor]:
    images, labels = load(split)
    pixels = torch.from_numpy(images).unsqueeze(1).float() / 255
    return (pixels - MEAN) / STD, torch.from_numpy(labels)


def _batches(inputs: Tensor, targets: Tensor) -> Batches:
    return list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))
