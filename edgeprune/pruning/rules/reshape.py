"""Ops that cut dimensions apart and join them: run on the ids themselves, so that any order of indices is exact.

Where channels end up spread over several dimensions, such as heads by width, they are tied over the leading ones:
what remains has to be a grid. Where whole heads are to go, the channels of a head are tied instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.heads import head_dimension
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace

Block = tuple[list[int], list[int]]
"""Old dimensions and the new ones that hold the same elements."""


def _reshape(trace: Trace, node: Node, x: Labels, *sizes: Any, **keywords: Any) -> Labels:
    # Into the shape of the node, which has as many elements.
    shape = shape_of(node)
    axes: dict[int, Ids] = {}
    free: set[int] = set()
    for old, new in blocks(x.shape, shape):
        labelled = [dim for dim in old if dim in x.axes]
        for dim in labelled[1:]:
            # Two kinds of channels in one dimension: neither can go without leaving holes in the other.
            trace.freeze(x.ids(dim), "is joined with other channels by")
            trace.freeze(x.ids(labelled[0]), "is joined with other channels by")
        if len(labelled) == 1:
            place, ids = _spread(trace, node, x, labelled[0], (old, new))
            if place is not None:
                axes[place] = ids
        elif all(x.is_free(dim) for dim in old):
            free.update(new)
    return Labels(shape, axes, frozenset(free))


def blocks(old: Sequence[int], new: Sequence[int]) -> Iterator[Block]:
    """Split a change of shape into the smallest independent ones.

    Args:
        old: Lengths before.
        new: Lengths after, with the same product.

    Yields:
        Dimensions before and after that hold the same elements.
    """
    left, right = 0, 0
    while left < len(old) or right < len(new):
        first, second = [], []
        ahead, behind = 1, 1
        while True:
            if left < len(old) and (ahead <= behind or right >= len(new)):
                ahead *= old[left]
                first.append(left)
                left += 1
            elif right < len(new):
                behind *= new[right]
                second.append(right)
                right += 1
            if ahead == behind and first and (second or right >= len(new)):
                break
            if left >= len(old) and right >= len(new):
                break
        yield first, second


def _spread(trace: Trace, node: Node, x: Labels, dim: int, block: Block) -> tuple[int | None, Ids]:
    # Run one block on the ids: return the new dimension that has them, and the ids along it.
    old, new = block
    shape = shape_of(node)
    within = [x.shape[each] if each == dim else 1 for each in old]
    full = [x.shape[each] for each in old]
    grid = np.broadcast_to(x.ids(dim).reshape(within), full).reshape([shape[each] for each in new])
    grid = trace.classes.roots(grid)
    varying = [axis for axis in range(grid.ndim) if (grid != grid.take([0], axis)).any()]
    if not varying:
        trace.freeze(grid.ravel(), "is one channel in")
        return None, grid
    axis = varying[-1]
    if trace.heads == "whole" and node in trace.attended:
        heads = head_dimension(node, [new[each] for each in varying])
        axis = axis if heads is None else new.index(heads)
    columns = np.moveaxis(grid, axis, -1).reshape(-1, grid.shape[axis])
    if math.prod(grid.shape[axis + 1 :]) > 1:
        # The last length of a split mostly follows the width; a leading one may be a number of heads or groups.
        trace.doubt(columns[0])
    return new[axis], trace.tie(columns)


def _pixel_shuffle(trace: Trace, node: Node, x: Labels, factor: int) -> Labels:
    # (..., C·r², H, W) -> (..., C, H·r, W·r): the r² parts of a channel go together.
    axis = len(x.shape) - 3
    x = trace.freeze_axes(x, (-1, -2), "is shuffled by")
    parts = x.ids(axis).reshape(-1, factor * factor)
    trace.union(parts, parts[:, :1])
    shape = shape_of(node)
    return Labels(shape, {**x.without(axis).axes, axis: parts[:, 0]})


def _pixel_unshuffle(trace: Trace, node: Node, x: Labels, factor: int) -> Labels:
    # (..., C, H·r, W·r) -> (..., C·r², H, W).
    axis = len(x.shape) - 3
    x = trace.freeze_axes(x, (-1, -2), "is unshuffled by")
    return Labels(shape_of(node), {**x.without(axis).axes, axis: np.repeat(x.ids(axis), factor * factor)})


def _channel_shuffle(trace: Trace, node: Node, x: Labels, groups: int) -> Labels:
    # (N, C, ...) -> the same shape: the groups lose the same channels of theirs.
    parts = x.ids(1).reshape(groups, -1)
    trace.tie(parts)
    return Labels(x.shape, {**x.axes, 1: parts.T.ravel()})


def _unfold_windows(trace: Trace, node: Node, x: Labels, kernel: Sequence[int], *options: Any) -> Labels:
    # (N, C, H, W) -> (N, C·k, L), as im2col.
    x = trace.freeze_axes(x, (-1, -2), "slides over them:")
    return Labels(shape_of(node), {**x.without(1).axes, 1: np.repeat(x.ids(1), math.prod(kernel))})


_RESHAPES = (
    "view", "reshape", "_unsafe_view", "_reshape_copy", "view_copy", "flatten", "unflatten", "view_as", "reshape_as",
    "ravel",
)  # fmt: skip

RULES: Rules = {
    **{name: Rule(_reshape) for name in _RESHAPES},
    "pixel_shuffle": Rule(_pixel_shuffle),
    "pixel_unshuffle": Rule(_pixel_unshuffle),
    "channel_shuffle": Rule(_channel_shuffle),
    "im2col": Rule(_unfold_windows),
}
