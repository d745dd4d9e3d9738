"""How many bits each tensor's weights get: as few as a loss budget allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.clustering import Clusters, cluster

Loss = Callable[[Mapping[str, Clusters]], float]
"""The mean loss of the network in which the named tensors are shared as given, all others as they are."""


class BitAllocation:
    """Clusters of every tensor at every number of bits, made once.

    Args:
        weights: Tensor name to its nonzero entries.
        loss: Measures the network.
        max_bits: To begin with.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], loss: Loss, max_bits: int) -> None:
        self._weights, self._loss = weights, loss
        self._made: dict[tuple[str, int], Clusters] = {}
        self._alone: dict[tuple[str, int], float] = {}
        self.bits = dict.fromkeys(weights, max_bits)

    def within(self, bound: float) -> dict[str, Clusters]:
        """Take bits away, from where that costs the least loss for the space it saves, as long as the bound holds.

        What is compared with the bound is the loss of the whole network, all tensors shared; what a tensor alone adds
        only says where to try next.

        Args:
            bound: Of the loss.

        Returns:
            Tensor name to clusters. Where even the most bits exceed the bound, these.
        """
        open_names = set(self._weights)
        while open_names:
            name = min(sorted(open_names), key=self._price)
            self.bits[name] -= 1
            if self.bits[name] < 1 or self._loss(self._chosen()) > bound:
                self.bits[name] += 1
                open_names.discard(name)
        return self._chosen()

    def _chosen(self) -> dict[str, Clusters]:
        return {name: self._clusters(name, bits) for name, bits in self.bits.items()}

    def _price(self, name: str) -> float:
        """Return the loss that one bit less adds in this tensor, for each bit of the file that it saves."""
        bits = self.bits[name]
        if bits <= 1:
            return np.inf
        saved = self._clusters(name, bits).entropy_bits - self._clusters(name, bits - 1).entropy_bits
        added = self._loss_alone(name, bits - 1) - self._loss_alone(name, bits)
        return added / max(saved * len(self._weights[name]), 1e-9)

    def _loss_alone(self, name: str, bits: int) -> float:
        key = (name, bits)
        if key not in self._alone:
            self._alone[key] = self._loss({name: self._clusters(name, bits)})
        return self._alone[key]

    def _clusters(self, name: str, bits: int) -> Clusters:
        key = (name, bits)
        if key not in self._made:
            self._made[key] = cluster(self._weights[name], 1 << bits)
        return self._made[key]
