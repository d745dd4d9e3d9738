"""Scores -> which channels each group keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.criteria import Scores
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.values.spec import PruneSpec

ONE_SCALE = frozenset({"lamp"})
"""Criteria whose scores compare across groups as they stand."""

FLOOR_RATIO = 0.1
"""A global ranking leaves every group at least this share of its width, or half the share that is left overall if
that is less: a group whose scores happen to be small must not collapse into a bottleneck."""


def allocate(
    groups: Sequence[ChannelGroup], scores: Sequence[Scores], totals: Sequence[int], ratio: float, spec: PruneSpec
) -> list[Ids]:
    """Choose the channels to keep.

    Args:
        groups: Groups that may lose channels.
        scores: One vector for each group.
        totals: Channels that each group had before any pruning; the ratio counts from these.
        ratio: Share of channels to be gone in the end, in [0, 1).
        spec: Scope and rounding.

    Returns:
        For each group the channels that stay, ascending.
    """
    if spec.scope == "local":
        wanted = [total * (1 - ratio) for total in totals]
    else:
        scaled = [values if spec.criterion in ONE_SCALE else _normalised(values) for values in scores]
        wanted = [0.0] * len(groups)
        for members in _ranked_together(groups, spec.scope):
            joint = _joint_counts(
                [groups[i] for i in members], [scaled[i] for i in members], [totals[i] for i in members], ratio
            )
            for index, count in zip(members, joint, strict=True):
                wanted[index] = count
    counts = [_rounded(group, count, spec.round_to) for group, count in zip(groups, wanted, strict=True)]
    return [_strongest(values, count) for values, count in zip(scores, counts, strict=True)]


def _strongest(scores: Scores, count: int) -> Ids:
    """Return the indices of the largest scores, ascending; of equal ones the first."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _rounded(group: ChannelGroup, count: float, multiple: int) -> int:
    # Round a number of channels so that the width is the nearest multiple; at least one, at most all of them.
    step = multiple // math.gcd(multiple, group.span)
    nearest = step * math.floor(count / step + 0.5)
    return min(max(nearest, step), group.n_channels)


def _ranked_together(groups: Sequence[ChannelGroup], scope: str) -> list[list[int]]:
    # All groups, or those of equal structure: the same kinds of layers, coupled in the same way.
    # Fang et al. 2024, "Isomorphic Pruning for Vision Models", section 3.2, arXiv:2407.04616.
    sets: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        sets.setdefault(structure(group) if scope == "isomorphic" else None, []).append(index)
    return list(sets.values())


def structure(group: ChannelGroup) -> tuple[tuple[str, str, int, bool], ...]:
    """Return what two groups have in common that differ in their widths only.

    Args:
        group: A group.

    Returns:
        For each place the type of the layer, the tensor's own name, the dimension, and whether channels are made there.
    """
    return tuple(
        (type(group.evidence.owner(p.tensor)).__name__, p.tensor.rpartition(".")[2], p.dim, p.produces)
        for p in group.places
    )


def _joint_counts(
    groups: Sequence[ChannelGroup], scores: Sequence[Scores], totals: Sequence[int], ratio: float
) -> list[float]:
    # Rank all channels together: remove the weakest until the ratio of all channels is gone.
    floor_ratio = min(FLOOR_RATIO, (1 - ratio) / 2)
    owner = np.concatenate([np.full(group.n_channels, index) for index, group in enumerate(groups)])
    spans = np.array([group.span for group in groups])
    order = np.argsort(np.concatenate(scores), kind="stable")
    counts = np.array([group.n_channels for group in groups])
    floors = np.array([max(1, math.ceil(total * floor_ratio)) for total in totals])
    budget = float((counts * spans).sum() - (np.array(totals) * spans).sum() * (1 - ratio))
    for index in owner[order]:
        if budget < spans[index] / 2:
            break
        if counts[index] > floors[index]:
            counts[index] -= 1
            budget -= spans[index]
    return [float(count) for count in counts]


def _normalised(scores: Scores) -> NDArray[np.float64]:
    # Divide by the mean, so that groups of different size and depth compare.
    mean = scores.mean()
    return scores / mean if mean > 0 else scores
