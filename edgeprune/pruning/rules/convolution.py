"""Convolutions of every kind: plain, grouped, depthwise and transposed, in one to three dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch.fx import Node

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules, skip_masked
from edgeprune.pruning.trace import Trace


def _forward(
    trace: Trace, node: Node, x: Labels, weight: Labels, bias: Labels | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Labels:  # fmt: skip
    return _convolve(trace, node, (x, weight, bias), groups, transposed=False)


def _transposed(
    trace: Trace, node: Node, x: Labels, weight: Labels, bias: Labels | None = None,
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Labels:  # fmt: skip
    return _convolve(trace, node, (x, weight, bias), groups, transposed=True)


def _general(
    trace: Trace, node: Node, x: Labels, weight: Labels, bias: Labels | None,
    stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int,
) -> Labels:  # fmt: skip
    return _convolve(trace, node, (x, weight, bias), groups, transposed=transposed)


def _convolve(
    trace: Trace, node: Node, operands: tuple[Labels, Labels, Labels | None], groups: int, *, transposed: bool
) -> Labels:
    x, weight, bias = operands
    axis = len(x.shape) - len(weight.shape) + 1  # an input without a batch has its channels first
    spatial = [dim for dim in range(len(x.shape)) if dim != axis]
    trace.freeze_axes(x, spatial, "slides over them:")
    trace.freeze_axes(weight, range(2, len(weight.shape)), "kernel of")
    couple = _couple_transposed if transposed else _couple_forward
    out = couple(trace, x.ids(axis), weight, groups)
    if bias is not None:
        trace.union(bias.ids(0), out)
    shape = shape_of(node)
    places = x.shape if transposed else shape
    trace.produces(node.args[1], 1 if transposed else 0, math.prod(places) // places[axis])
    return Labels(shape, {axis: out})


def _couple_forward(trace: Trace, arriving: Ids, weight: Labels, groups: int) -> Ids:
    # Weight (C_out, C_in / G, ...): return the ids of the out channels.
    out = weight.ids(0)
    if groups == 1:
        trace.union(arriving, _single(weight.ids(1), arriving))
    elif weight.shape[1] == 1:
        arriving = np.repeat(arriving, len(out) // groups)
        if weight.is_free(0):
            return arriving  # one kernel, stretched over all channels
        trace.union(arriving, out)
    else:
        trace.union(trace.tie(arriving.reshape(groups, -1)), weight.ids(1))
        trace.tie(out.reshape(groups, -1))
    return out


def _couple_transposed(trace: Trace, arriving: Ids, weight: Labels, groups: int) -> Ids:
    # Weight (C_in, C_out / G, ...): return the ids of the out channels.
    trace.union(arriving, _single(weight.ids(0), arriving))
    out = weight.ids(1)
    if groups == 1:
        return out
    if len(arriving) == groups:
        trace.freeze(out, "depthwise multiplier of")
        return np.repeat(arriving, len(out))
    trace.tie(arriving.reshape(groups, -1))
    return np.tile(out, groups)


def _single(own: Ids, arriving: Ids) -> Ids:
    # A weight dimension of length 1 has no ids: let what arrives there be.
    return arriving if len(own) == 1 else own


def _skipping(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: Any) -> Any:
    # Not for groups: there, the weight's second dimension is shorter than the input's. And not for an input of one
    # position, such as that of squeeze-and-excitation: picking columns of the weight takes longer than multiplying all.
    x, weight = arguments[:2]
    axis = x.dim() - weight.dim() + 1
    if weight.shape[1] == 1 < x.shape[axis]:
        return op(*arguments, **keywords)  # depthwise: it sums over no channels, and there is nothing to mask
    if keywords or x.numel() == x.shape[axis]:
        return None
    return skip_masked(op, arguments, axis, keep.along(0, axis))


RULES: Rules = {
    **{f"conv{n}d": Rule(_forward, masks=((0, 1),), skipping=_skipping) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": Rule(_transposed, masks=((0, 1),)) for n in (1, 2, 3)},
    "convolution": Rule(_general, masks=((0, 1),)),
}
