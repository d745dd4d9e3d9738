"""Where each index of each dimension of a tensor came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeprune.pruning.classes import Ids


@dataclass(frozen=True, slots=True)
class Labels:
    """The channel ids of one tensor, one vector for each dimension that has channels.

    An element of the tensor goes if any of its dimensions' ids goes. A dimension without a vector is there to stay,
    unless it is free: it then repeats one value, and fits whatever it is combined with.

    Attributes:
        shape: Of the tensor.
        axes: Dimension to ids, shape (shape[dimension],), 0 where an index is there to stay.
        free: Dimensions that repeat one value; those of length 1 count as free without being listed.
    """

    shape: tuple[int, ...]
    axes: Mapping[int, Ids] = field(default_factory=dict)
    free: frozenset[int] = frozenset()

    def is_free(self, dim: int) -> bool:
        """Return whether the tensor repeats one value along `dim`."""
        return self.shape[dim] == 1 or dim in self.free

    def ids(self, dim: int) -> Ids:
        """Return the ids along `dim`, zeros where it has none; shape (shape[dim],)."""
        dim %= len(self.shape)
        found = self.axes.get(dim)
        return np.zeros(self.shape[dim], dtype=np.int64) if found is None else found

    def without(self, *dims: int) -> Labels:
        """Return the same labels with some dimensions unlabelled."""
        places = {dim % len(self.shape) for dim in dims}
        return Labels(self.shape, {d: ids for d, ids in self.axes.items() if d not in places}, self.free)

    def resized(self, shape: tuple[int, ...]) -> Labels:
        """Return the labels of a tensor of the same rank whose unlabelled dimensions have other lengths."""
        return Labels(shape, self.axes)

    def renumbered(self, order: Mapping[int, int], shape: tuple[int, ...]) -> Labels:
        """Return the labels of a tensor whose dimensions stand elsewhere.

        Args:
            order: Old dimension to new dimension; those left out are dropped.
            shape: Of the new tensor.

        Returns:
            Its labels.
        """
        axes = {order[dim]: ids for dim, ids in self.axes.items() if dim in order}
        return Labels(shape, axes, frozenset(order[dim] for dim in self.free if dim in order))
