"""Ops that move whole dimensions or indices about: run on the ids themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _permute(trace: Trace, node: Node, x: Labels, dims: Sequence[int]) -> Labels:
    rank = len(x.shape)
    return x.renumbered({dim % rank: place for place, dim in enumerate(dims)}, shape_of(node))


def _transpose(trace: Trace, node: Node, x: Labels, first: int, second: int) -> Labels:
    order = list(range(len(x.shape)))
    order[first], order[second] = order[second], order[first]
    return _permute(trace, node, x, order)


def _swap_last(trace: Trace, node: Node, x: Labels) -> Labels:
    # t, mT, numpy_T: of a matrix.
    return _transpose(trace, node, x, -2, -1) if len(x.shape) > 1 else x


def _movedim(trace: Trace, node: Node, x: Labels, source: Any, destination: Any) -> Labels:
    pairs = zip(
        *([side] if isinstance(side, int) else list(side) for side in (source, destination)),
        strict=True,
    )
    rank = len(x.shape)
    placed = {to % rank: dim % rank for dim, to in pairs}
    others = iter([dim for dim in range(rank) if dim not in placed.values()])
    return _permute(trace, node, x, [placed[to] if to in placed else next(others) for to in range(rank)])


def _unsqueeze(trace: Trace, node: Node, x: Labels, dim: int) -> Labels:
    shape = shape_of(node)
    dim %= len(shape)
    return x.renumbered({old: old + (old >= dim) for old in range(len(x.shape))}, shape)


def _squeeze(trace: Trace, node: Node, x: Labels, dims: int | Sequence[int] | None = None) -> Labels:
    rank = len(x.shape)
    asked = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    dropped = {dim % rank for dim in asked if x.shape[dim] == 1} if rank else set()
    left = [dim for dim in range(rank) if dim not in dropped]
    return x.renumbered({dim: place for place, dim in enumerate(left)}, shape_of(node))


def _expand(trace: Trace, node: Node, x: Labels, *sizes: Any, **keywords: Any) -> Labels:
    # A dimension that was stretched repeats one value.
    shape = shape_of(node)
    lead = len(shape) - len(x.shape)
    stretched = {dim + lead for dim in range(len(x.shape)) if x.is_free(dim)} | set(range(lead))
    return Labels(shape, {dim + lead: ids for dim, ids in x.axes.items()}, frozenset(stretched))


def _expand_as(trace: Trace, node: Node, x: Labels, other: Labels) -> Labels:
    # A dimension that was stretched to another tensor's follows that tensor.
    bare = Labels(other.shape, other.axes, other.free)
    return trace.unify([x, bare], shape_of(node))


def _cat(trace: Trace, node: Node, parts: Sequence[Labels], dim: int = 0) -> Labels:
    # Along `dim` ids follow each other; along all others they meet.
    shape = shape_of(node)
    dim %= len(shape)
    parts = [part for part in parts if len(part.shape) == len(shape)]  # torch lets empty vectors pass
    flat = tuple(1 if d == dim else length for d, length in enumerate(shape))
    met = trace.unify([_flat(part, dim) for part in parts], flat)
    ids: Ids = np.concatenate([part.ids(dim) for part in parts])
    return Labels(shape, {**met.axes, dim: ids} if ids.any() else met.axes)


def _flat(part: Labels, dim: int) -> Labels:
    shape = tuple(1 if d == dim else length for d, length in enumerate(part.shape))
    return Labels(shape, part.without(dim).axes, part.free)


def _stack(trace: Trace, node: Node, parts: Sequence[Labels], dim: int = 0) -> Labels:
    met = trace.unify(parts, parts[0].shape)
    return _unsqueeze(trace, node, met, dim)


def _repeat(trace: Trace, node: Node, x: Labels, times: Sequence[int]) -> Labels:
    shape = shape_of(node)
    lead = len(shape) - len(x.shape)
    axes = {dim + lead: np.tile(ids, times[dim + lead]) for dim, ids in x.axes.items()}
    stretched = {dim + lead for dim in range(len(x.shape)) if x.is_free(dim)} | set(range(lead))
    return Labels(shape, axes, frozenset(stretched))


def _repeat_interleave(trace: Trace, node: Node, x: Labels, times: Any, dim: int | None = None, **rest: Any) -> Labels:
    shape = shape_of(node)
    if dim is None or not isinstance(times, int):
        trace.freeze(x, "is repeated unevenly by")
        return Labels(shape)
    dim %= len(shape)
    axes = {d: np.repeat(ids, times) if d == dim else ids for d, ids in x.axes.items()}
    return Labels(shape, axes)


def _flip(trace: Trace, node: Node, x: Labels, dims: Sequence[int]) -> Labels:
    places = {dim % len(x.shape) for dim in dims}
    axes = {dim: ids[::-1] if dim in places else ids for dim, ids in x.axes.items()}
    return Labels(x.shape, axes, x.free)


def _roll(trace: Trace, node: Node, x: Labels, shifts: Any, dims: Any = ()) -> Labels:
    # The shift is a number, and would mean other channels once some are gone.
    places = [dims] if isinstance(dims, int) else list(dims) or list(range(len(x.shape)))
    return trace.freeze_axes(x, places, "is rolled by")


def _pad(
    trace: Trace, node: Node, x: Labels, widths: Sequence[int], mode: str = "constant", value: Any = None
) -> Labels:
    # Padded channels are channels, too: they go with what they meet, if the width of the padding follows.
    shape, rank = shape_of(node), len(x.shape)
    axes = dict(x.axes)
    for pair in range(len(widths) // 2):
        dim, before, after = rank - 1 - pair, widths[2 * pair], widths[2 * pair + 1]
        if dim not in axes or before == after == 0:
            continue
        if mode != "constant" or before < 0 or after < 0:
            trace.freeze(axes.pop(dim), "is padded by")
        else:
            fresh = trace.classes.fresh(before + after)
            trace.doubt(fresh)
            axes[dim] = np.concatenate([fresh[:before], axes[dim], fresh[before:]])
    return Labels(shape, axes)


def _constant_pad(trace: Trace, node: Node, x: Labels, widths: Sequence[int], value: Any = 0) -> Labels:
    return _pad(trace, node, x, widths)


RULES: Rules = {
    "permute": Rule(_permute),
    "transpose": Rule(_transpose),
    "swapaxes": Rule(_transpose),
    "t": Rule(_swap_last),
    "numpy_T": Rule(_swap_last),
    "mT": Rule(_swap_last),
    "matrix_H": Rule(_swap_last),
    "movedim": Rule(_movedim),
    "unsqueeze": Rule(_unsqueeze),
    "squeeze": Rule(_squeeze),
    "expand": Rule(_expand),
    "broadcast_to": Rule(_expand),
    "expand_as": Rule(_expand_as),
    "cat": Rule(_cat),
    "concat": Rule(_cat),
    "concatenate": Rule(_cat),
    "stack": Rule(_stack),
    "repeat": Rule(_repeat),
    "tile": Rule(_repeat),
    "repeat_interleave": Rule(_repeat_interleave),
    "flip": Rule(_flip),
    "roll": Rule(_roll),
    "pad": Rule(_pad),
    "constant_pad_nd": Rule(_constant_pad),
}
