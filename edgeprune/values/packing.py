"""Shared weights and packed files: what is asked for, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from edgeprune.errors import UsageError
from edgeprune.values.spec import FinetuneSpec


@dataclass(frozen=True, slots=True)
class SharingSpec:
    """How the weights of a network come to share few values.

    Attributes:
        loss_budget: By how much the mean cross-entropy over the calibration batches may rise, in nats, before the
            shared values are trained; it decides how many bits each tensor gets.
        max_bits: A tensor has at most 2 ** max_bits values besides zero.
        calibration_batches: Batches on which the loss is measured.
        training: How the shared values are trained afterwards; nothing is refit.
    """

    loss_budget: float = 0.01
    max_bits: int = 6
    calibration_batches: int = 8
    training: FinetuneSpec = field(default_factory=lambda: FinetuneSpec(epochs=2, learning_rate=1e-4))

    def __post_init__(self) -> None:
        if not 0 < self.loss_budget < math.inf:
            raise UsageError(f"A loss budget of {self.loss_budget} is none.", "Give one in nats, such as 0.01.")
        if not 1 <= self.max_bits <= 7:
            raise UsageError(f"max_bits {self.max_bits} is outside 1 to 7.", "Give how many bits a weight may take.")
        if self.calibration_batches < 1:
            raise UsageError("calibration_batches is less than 1.", "Give a whole number from 1.")


@dataclass(frozen=True, slots=True)
class SharedTensor:
    """A tensor of weights that share few values.

    Attributes:
        name: Of the tensor.
        weights: How many it holds,
        nonzero: and how many of them are not zero.
        bits: Chosen: the values were clustered into at most 2 ** bits.
        values: Distinct values besides zero.
        entropy_bits: Of the choice among them, per nonzero weight.
    """

    name: str
    weights: int
    nonzero: int
    bits: int
    values: int
    entropy_bits: float


@dataclass(frozen=True, slots=True)
class SharingReport:
    """How the weights of a network came to share few values.

    Attributes:
        tensors: One row a tensor.
        loss_before: Mean cross-entropy over the calibration batches with the weights as they were, in nats,
        loss_shared: with shared ones,
        loss_trained: and after the shared values were trained.
    """

    tensors: tuple[SharedTensor, ...]
    loss_before: float
    loss_shared: float
    loss_trained: float


@dataclass(frozen=True, slots=True)
class Packed:
    """A model file as it travels and is archived. It is not what a board loads: that is the unpacked file.

    Attributes:
        path: Of the packed file.
        sha256: Of its bytes.
        size_bytes: Of the packed file; never the size on the board or in memory.
        unpacked_sha256: Of the model file that comes out.
        unpacked_bytes: Its size.
        sharing: How its weights came to share few values; None where they were left as they are.
    """

    path: Path
    sha256: str
    size_bytes: int
    unpacked_sha256: str
    unpacked_bytes: int
    sharing: SharingReport | None = None

    @property
    def ratio(self) -> float:
        """How many times smaller it is than the model file."""
        return self.unpacked_bytes / self.size_bytes
