"""A user's loader -> checked arrays; or, without a loader, inputs made from the example inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from edgeprune.errors import DataError
from edgeprune.exporting.arrays import is_finite
from edgeprune.values.batch import batches

RANDOM_BATCHES = 15
"""Random batches beside the example inputs where there is no calibration data."""


class CalibrationData:
    """The batches of a loader, each read once, however often and however many are asked for.

    Args:
        loader: Iterable of (inputs, targets).
        examples: The model's example inputs; every batch has their shapes behind dim 0, and their types.
    """

    def __init__(self, loader: Iterable[Any], examples: Sequence[np.ndarray]) -> None:
        self._unread: Iterator[tuple[tuple[Any, ...], Any]] = batches(loader)
        self._read: list[list[np.ndarray]] = []
        self._examples = list(examples)
        self._failure: DataError | None = None

    def take(self, n_batches: int) -> list[np.ndarray]:
        """Return the inputs of the first batches.

        Args:
            n_batches: At most so many; fewer where the loader ends before.

        Returns:
            One array per input, all examples along dim 0.

        Raises:
            DataError: The loader is empty, or its inputs have other shapes or types, or hold NaN or infinity.
        """
        if self._failure is not None:
            raise self._failure  # what was read on after a bad batch would silently lack it
        try:
            for inputs, _ in islice(self._unread, max(0, n_batches - len(self._read))):
                self._read.append(self._checked(inputs))
        except DataError as error:
            self._failure = error
            raise
        return [np.concatenate(parts) for parts in zip(*self._read[:n_batches], strict=True)]

    def _checked(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        where = f"calibration batch {len(self._read)}"
        arrays = [_array(tensor) for tensor in inputs]
        if len(arrays) != len(self._examples):
            raise DataError(
                f"{where} holds {len(arrays)} inputs, the model takes {len(self._examples)}.".capitalize(),
                "Let the loader yield (inputs, targets), inputs being one tensor or a tuple of them.",
            )
        for index, (array, example) in enumerate(zip(arrays, self._examples, strict=True)):
            if array.shape[1:] != example.shape[1:] or array.dtype != example.dtype or len(array) == 0:
                raise DataError(
                    f"Input {index} of {where} is {array.dtype} {array.shape}; "
                    f"the model takes {example.dtype} {('N', *example.shape[1:])}.",
                    "Let the loader prepare its inputs as the example inputs are.",
                )
            if not is_finite(array):
                raise DataError(
                    f"Input {index} of {where} holds NaN or infinity.",
                    "Clean the data: one such value spoils every scale.",
                )
        return arrays


def random_like(examples: Sequence[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """Return seeded random inputs of the examples' ranges.

    Args:
        examples: One array per input, shape (N, …).
        seed: Of the random numbers.

    Returns:
        One array per input, shape (15·N, …): floats normal with the examples' mean and deviation, integers between
        the examples' smallest and largest, so that an index stays in its table.
    """
    generator = np.random.default_rng(seed)
    return [np.concatenate(_random(array, generator)) for array in examples]


def _random(example: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    shape = (RANDOM_BATCHES, *example.shape)
    if np.issubdtype(example.dtype, np.floating):
        return list(generator.normal(example.mean(), example.std() or 1.0, shape).astype(example.dtype))
    low, high = int(example.min()), int(example.max())
    return list(generator.integers(low, high, shape, endpoint=True).astype(example.dtype))


def _array(tensor: Any) -> np.ndarray:
    # A torch tensor, without importing torch for those who have none.
    return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
