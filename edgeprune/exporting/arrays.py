"""Arrays on their way into a runtime: finite, channels first as torch has them or last as TFLite wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeprune.exporting.model_file import Run

IMAGE_DIMENSIONS = 4
"""Batch, channels, height, width: what has as many is taken for images."""


def is_finite(array: np.ndarray) -> bool:
    """Return whether an array is free of NaN and infinity; integers and booleans always are."""
    return not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).all())


def channels_last(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays, those of four dimensions as (N, height, width, channels)."""
    return [array.transpose(0, 2, 3, 1) if array.ndim == IMAGE_DIMENSIONS else array for array in arrays]


def channels_first(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays, those of four dimensions as (N, channels, height, width)."""
    return [array.transpose(0, 3, 1, 2) if array.ndim == IMAGE_DIMENSIONS else array for array in arrays]


def turned(run: Run) -> Run:
    """Return the run of a channel-last artifact as one that takes and gives channels first."""
    return lambda inputs: channels_first(run(channels_last(inputs)))
