"""The 8x8 digits of scikit-learn, split once and for all; nothing of the data ships with EdgePrune."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DataError, UnknownName

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

SPLITS = ("train", "test")
TRAINING_IMAGES = 1_300
_SEED = 0


def load(split: str) -> tuple[Images, Labels]:
    """Read one split.

    Args:
        split: "train" (1 300 digits) or "test" (the other 497).

    Returns:
        Pictures, uint8 (N, 8, 8) with values 0 to 16, and labels, int64 (N,), in a fixed shuffled order.

    Raises:
        UnknownName: There is no such split.
        DataError: scikit-learn is not installed.
    """
    if split not in SPLITS:
        raise UnknownName("split of the digits", split, SPLITS)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("The digits come with scikit-learn, which is not installed.", _INSTALL) from error
    digits = load_digits()
    order = np.random.default_rng(_SEED).permutation(len(digits.target))
    chosen = order[:TRAINING_IMAGES] if split == "train" else order[TRAINING_IMAGES:]
    return digits.images[chosen].astype(np.uint8), digits.target[chosen].astype(np.int64)


_INSTALL = "Run: pip install scikit-learn"
