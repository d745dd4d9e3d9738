"""The one convention for data: a loader is an iterable of (inputs, targets).

`inputs` is one tensor or a tuple of tensors, batch first; `targets` is whatever the loss or the metric takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from edgeprune.errors import DataError


def split_batch(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the inputs of a batch as a tuple, and its targets.

    Args:
        batch: (inputs, targets), where inputs is a tensor or a sequence of tensors.

    Returns:
        Inputs, one tensor each, and targets.

    Raises:
        DataError: The batch is not a pair.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"A loader gave a {type(batch).__name__} where a pair was due.", "Let it yield (inputs, targets)."
        )
    inputs, targets = batch
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), targets


def batches(loader: Iterable[Any], limit: int | None = None) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the split batches of a loader.

    Args:
        loader: Iterable of (inputs, targets).
        limit: At most so many batches; None for all.

    Yields:
        Inputs as a tuple, and targets.

    Raises:
        DataError: The loader yields nothing, or something that is not a pair.
    """
    empty = True
    for batch in islice(loader, limit):
        empty = False
        yield split_batch(batch)
    if empty:
        raise DataError("A loader yielded nothing.", "Let it return an iterable with at least one (inputs, targets).")
