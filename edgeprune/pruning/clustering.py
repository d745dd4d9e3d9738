"""One-dimensional k-means: many weights -> few values that they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Clusters:
    """Values, and which of them each weight takes.

    Attributes:
        centroids: float32, shape (k,), rising.
        codes: int64, one a weight, the index of its centroid.
    """

    centroids: NDArray[np.float32]
    codes: NDArray[np.int64]

    @property
    def entropy_bits(self) -> float:
        """Entropy of the codes, in bits a weight."""
        shares = np.bincount(self.codes) / max(1, len(self.codes))
        shares = shares[shares > 0]
        return float(-(shares * np.log2(shares)).sum())


def cluster(weights: NDArray[np.float32], count: int) -> Clusters:
    """Cluster weights by k-means.

    The first centroids lie evenly between the smallest and the largest weight, so that the few large weights, which
    matter most, get centroids of their own; centroids that nothing is nearest to are dropped. The same weights give the
    same clusters.

    Args:
        weights: Shape (n,), finite.
        count: Centroids at most.

    Returns:
        The clusters; exact where there are no more than `count` different weights.

    Source:
        Han et al. 2016, "Deep Compression", section 3.1 and 3.2 (linear initialisation), arXiv:1510.00149.
    """
    distinct, codes = np.unique(weights, return_inverse=True)
    if len(distinct) <= count:
        return Clusters(distinct.astype(np.float32), codes.astype(np.int64))
    ordered = np.sort(weights).astype(np.float64)
    centroids = np.linspace(ordered[0], ordered[-1], count)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    for _ in range(MAX_ROUNDS):
        ends = np.concatenate(([0], np.searchsorted(ordered, _borders(centroids)), [len(ordered)]))
        sizes = np.diff(ends)
        moved = (np.diff(sums[ends]) / np.maximum(sizes, 1))[sizes > 0]
        if len(moved) == len(centroids) and np.array_equal(moved, centroids):
            break
        centroids = moved
    return Clusters(centroids.astype(np.float32), np.searchsorted(_borders(centroids), weights).astype(np.int64))


def _borders(centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    return (centroids[1:] + centroids[:-1]) / 2
