"""Ops that take a part of a tensor.

Bounds are numbers in the graph. Equal parts stay equal when all of them lose the same channels, so these are tied.
Unequal ones each lose their own, and the user's code may not follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace

_END = 2**62


def _equal_parts(trace: Trace, x: Labels, dim: int, lengths: Sequence[int]) -> list[Labels]:
    # Cut x along dim; return the labels of the parts.
    dim %= len(x.shape)
    ids = x.ids(dim)
    if len(lengths) > 1 and ids.any():
        if len(set(lengths)) > 1 or lengths[0] == 1:
            trace.doubt(ids)
        else:
            trace.tie(ids.reshape(len(lengths), -1))
    parts, start = [], 0
    for length in lengths:
        shape = tuple(length if d == dim else size for d, size in enumerate(x.shape))
        axes = {d: (found[start : start + length] if d == dim else found) for d, found in x.axes.items()}
        parts.append(Labels(shape, axes, x.free))
        start += length
    return parts


def _split(trace: Trace, node: Node, x: Labels, parts: Any, dim: int = 0) -> list[Labels]:
    lengths = [value.shape[dim] for value in node.meta["val"]]
    return _equal_parts(trace, x, dim, lengths)


def _unbind(trace: Trace, node: Node, x: Labels, dim: int = 0) -> list[Labels]:
    x = trace.freeze_axes(x, [dim], "is taken apart by")
    return [_dropped(x, dim) for _ in node.meta["val"]]


def _select(trace: Trace, node: Node, x: Labels, dim: int, index: int) -> Labels:
    # One index of a dimension: it would be another one once some are gone.
    return _dropped(trace.freeze_axes(x, [dim], "is picked by number in"), dim)


def _dropped(x: Labels, dim: int) -> Labels:
    dim %= len(x.shape)
    left = [d for d in range(len(x.shape)) if d != dim]
    return x.renumbered({d: place for place, d in enumerate(left)}, tuple(x.shape[d] for d in left))


def _slice(
    trace: Trace, node: Node, x: Labels, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Labels:
    # Half of a dimension, a third …: tied like equal parts. Any other range keeps the channels.
    shape = shape_of(node)
    dim %= len(shape)
    whole, length = x.shape[dim], shape[dim]
    if dim not in x.axes or length == whole:
        return x.resized(shape) if length != whole else x
    begin = slice(start, None if end is None or end >= _END else end).indices(whole)[0]
    if step != 1 or length == 0:
        return trace.freeze_axes(x, [dim], "is cut at fixed places by").resized(shape)
    if whole % length or begin % length:
        trace.doubt(x.ids(dim))
        return Labels(shape, {**x.axes, dim: x.ids(dim)[begin : begin + length]}, x.free)
    return _equal_parts(trace, x, dim, [length] * (whole // length))[begin // length]


def _narrow(trace: Trace, node: Node, x: Labels, dim: int, start: int, length: int) -> Labels:
    return _slice(trace, node, x, dim, start, start + length)


def _index_select(trace: Trace, node: Node, x: Labels, dim: int, index: Labels) -> Labels:
    return trace.freeze_axes(x, [dim], "is picked by number in").resized(shape_of(node))


def _index(trace: Trace, node: Node, x: Labels, indices: Sequence[Labels | None]) -> Labels:
    # x[:, idx, ...]: the indexed dimensions give way to those of the indices.
    picked = [dim for dim, index in enumerate(indices) if index is not None]
    x = trace.freeze_axes(x, picked, "is picked by number in")
    shape = shape_of(node)
    added = len(shape) - len(x.shape) + len(picked)
    together = picked == list(range(picked[0], picked[-1] + 1))
    first = picked[0] if together else 0
    left = [dim for dim in range(len(x.shape)) if dim not in picked]
    places = [place for place in range(len(shape)) if not first <= place < first + added]
    return x.renumbered(dict(zip(left, places, strict=True)), shape)


def _gated(trace: Trace, node: Node, x: Labels, dim: int = -1) -> Labels:
    # glu: one half gates the other.
    half = x.shape[dim] // 2
    return _equal_parts(trace, x, dim, [half, half])[0]


RULES: Rules = {
    "chunk": Rule(_split),
    "split": Rule(_split),
    "split_with_sizes": Rule(_split),
    "tensor_split": Rule(_split),
    "unbind": Rule(_unbind),
    "select": Rule(_select),
    "slice": Rule(_slice),
    "narrow": Rule(_narrow),
    "index_select": Rule(_index_select),
    "index": Rule(_index),
    "glu": Rule(_gated),
}
