"""scikit-learn's 8x8 digits as batches of tensors.

EdgePrune takes anything that can be walked over again and again and yields (inputs, targets). A torch DataLoader
does; a list of batches, as here, is the simplest that does.
"""

from functools import cache

import torch
from edgeprune.examples.digits import load
from torch import Tensor

BATCH = 64

Batches = list[tuple[Tensor, Tensor]]


def train(seed: int = 0) -> Batches:
    """1 300 training digits: inputs (B, 1, 8, 8) float32, targets (B,) int64; each seed has its own order."""
    inputs, targets = _tensors("train")
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    return _batches(inputs[order], targets[order])


def test() -> Batches:
    """497 test digits, never trained on, always in the same order."""
    return _batches(*_tensors("test"))


@cache
def _tensors(split: str) -> tuple[Tensor, Tensor]:
    images, labels = load(split)
    return torch.from_numpy(images).unsqueeze(1).float() / 8 - 1, torch.from_numpy(labels)


def _batches(inputs: Tensor, targets: Tensor) -> Batches:
    return list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))
