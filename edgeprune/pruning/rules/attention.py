"""Scaled dot-product attention."""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _attention(
    trace: Trace, node: Node, query: Labels, key: Labels, value: Labels, mask: Labels | None = None,
    *options: Any, scale: float | None = None, **keywords: Any,
) -> Labels:  # fmt: skip
    # query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V).
    shape = shape_of(node)
    if scale is None:
        # Its default is one over the square root of the width, so that fewer channels would mean another softmax.
        for side in (query, key):
            trace.bake(side.ids(-1), "sets the scale of")
    query, key = trace.contract(query, -1, key, -1)
    key = trace.freeze_axes(key, [-2], "is attended over by")
    value = trace.freeze_axes(value, [-2], "is attended over by")
    query = trace.freeze_axes(query, [-2], "is weighed by row in")
    sides = [_batch(query), _batch(key)]
    if mask is not None:
        sides.append(_batch(trace.freeze_axes(mask, range(-min(2, len(mask.shape)), 0), "masks")))
    scores = trace.unify(sides, (*shape[:-2], 1, 1))
    return trace.unify([scores, Labels((*value.shape[:-2], 1, value.shape[-1]), value.axes)], shape)


def _batch(side: Labels) -> Labels:
    axes = {dim: ids for dim, ids in side.axes.items() if dim < len(side.shape) - 2}
    return Labels((*side.shape[:-2], 1, 1), axes, side.free & set(range(len(side.shape) - 2)))


RULES: Rules = {"scaled_dot_product_attention": Rule(_attention, masks=(0, 1, 2))}
