"""Arrays of images, channels first as torch has them, and channels last as TFLite wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeprune.exporting.model_file import Run

IMAGE_DIMENSIONS = 4
"""Batch, channels, height, width: what has as many is taken for images."""


def channels_last(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays, those of four dimensions as (N, height, width, channels)."""
    return [array.transpose(0, 2, 3, 1) if array.ndim == IMAGE_DIMENSIONS else array for array in arrays]


def channels_first(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays, those of four dimensions as (N, channels, height, width)."""
    return [array.transpose(0, 3, 1, 2) if array.ndim == IMAGE_DIMENSIONS else array for array in arrays]


def turned(run: Run) -> Run:
    """Return the run of a channel-last artifact as one that takes and gives channels first."""
    return lambda inputs: channels_first(run(channels_last(inputs)))
