"""Norms: their parameters belong to the channels.

Batch and instance norm treat each channel by itself. Layer, RMS and group norm compute statistics across channels;
their masked reference computes these over the channels that are kept, which is what the pruned network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _per_channel(trace: Trace, node: Node, x: Labels, *arguments: Any) -> Labels:
    # Batch and instance norm: all their vectors run along dimension 1.
    vectors = {id(ids): ids for ids in [value.ids(0) for value in arguments if isinstance(value, Labels)]}
    for ids in vectors.values():
        trace.union(ids, x.ids(1))
    spatial = [dim for dim in range(len(x.shape)) if dim != 1]
    x = trace.freeze_axes(x, spatial, "is normalised over by")
    trace.follow(node, x.ids(1))
    return x


def _batch(
    trace: Trace, node: Node, x: Labels, weight: Labels | None, bias: Labels | None, mean: Labels | None,
    variance: Labels | None, training: bool, *options: Any,
) -> Labels:  # fmt: skip
    if not training:
        return _per_channel(trace, node, x, weight, bias, mean, variance)
    # Statistics of what is there, such as of a weight that is standardised: channels may go from all dimensions.
    for vector in (weight, bias, mean, variance):
        if vector is not None:
            trace.union(vector.ids(0), x.ids(1))
    return x


def _masked_batch(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    x, weight, bias, _, _, training, _, eps = arguments[:8]
    if not training or keep[0] is None:
        return None
    mean, variance = _kept_moments(x, keep[0], [dim for dim in range(x.dim()) if dim != 1])
    return _affine((x - mean) / torch.sqrt(variance + eps), weight, bias)


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    # Scale and shift along dimension 1.
    along = (1, -1, *[1] * (x.dim() - 2))
    x = x if weight is None else x * weight.reshape(along)
    return x if bias is None else x + bias.reshape(along)


def _native_batch(trace: Trace, node: Node, x: Labels, *arguments: Any) -> list[Labels]:
    return [_per_channel(trace, node, x, *arguments), *(Labels(tuple(v.shape)) for v in node.meta["val"][1:])]


def _over_last(
    trace: Trace, node: Node, x: Labels, lengths: Sequence[int], weight: Labels | None = None,
    bias: Labels | None = None, *options: Any,
) -> Labels:  # fmt: skip
    # Layer and RMS norm over the last dimensions; channels among several of them stay.
    affine = [value for value in (weight, bias) if isinstance(value, Labels)]
    if len(lengths) > 1:
        for value in affine:
            trace.freeze(value, "spans several dimensions in")
        return trace.freeze_axes(x, range(-len(lengths), 0), "is normalised over by")
    found = trace.unify([x, *affine], x.shape)
    trace.follow(node, found.ids(-1))
    return found


def _native_layer(trace: Trace, node: Node, x: Labels, lengths: Sequence[int], *rest: Any) -> list[Labels]:
    return [_over_last(trace, node, x, lengths, *rest), *(Labels(tuple(v.shape)) for v in node.meta["val"][1:])]


def _group(
    trace: Trace, node: Node, x: Labels, groups: int, weight: Labels | None = None, bias: Labels | None = None,
    *options: Any,
) -> Labels:  # fmt: skip
    # Every group loses as many channels: the ones at the same places.
    x = trace.freeze_axes(x, range(2, len(x.shape)), "is normalised over by")
    for vector in (weight, bias):
        if vector is not None:
            trace.union(vector.ids(0), x.ids(1))
    if groups == x.shape[1]:
        trace.freeze(x.ids(1), "has one group for each channel in")
    else:
        trace.tie(x.ids(1).reshape(groups, -1))
    trace.follow(node, x.ids(1))
    return x


def _kept_moments(x: Tensor, keep: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    # Mean and variance over `dims` of the elements that are kept.
    weight = torch.broadcast_to(keep, x.shape).to(x.dtype)
    count = weight.sum(dims, keepdim=True).clamp(min=1)  # a row that is removed itself has none
    mean = (x * weight).sum(dims, keepdim=True) / count
    return mean, ((x - mean).square() * weight).sum(dims, keepdim=True) / count


def _masked_layer(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    x, lengths, weight, bias, eps = [*arguments, *[None] * 5][:5]
    if keep[0] is None:
        return None
    mean, variance = _kept_moments(x, keep[0], list(range(-len(lengths), 0)))
    found = (x - mean) / torch.sqrt(variance + (1e-5 if eps is None else eps))
    found = found if weight is None else found * weight
    return found if bias is None else found + bias


def _masked_native_layer(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    found = _masked_layer(op, arguments, keywords, keep)
    return None if found is None else (found, None, None)


def _masked_rms(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    x, lengths, weight, eps = [*arguments, *[None] * 4][:4]
    if keep[0] is None:
        return None
    mean, variance = _kept_moments(x, keep[0], list(range(-len(lengths), 0)))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    found = x / torch.sqrt(variance + mean.square() + eps)
    return found if weight is None else found * weight


def _masked_group(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    x, groups, weight, bias, eps = [*arguments, *[None] * 5][:5]
    if keep[0] is None:
        return None
    parts = (x.shape[0], groups, -1)
    flat = x.reshape(parts)
    mean, variance = _kept_moments(flat, torch.broadcast_to(keep[0], x.shape).reshape(parts), [2])
    found = ((flat - mean) / torch.sqrt(variance + (1e-5 if eps is None else eps))).reshape(x.shape)
    return _affine(found, weight, bias)


def _weight_norm(trace: Trace, node: Node, direction: Labels, length: Labels, dim: int = 0) -> Labels:
    # A weight as direction and length, one length for each index of `dim`.
    if dim % len(direction.shape) in direction.axes:
        trace.union(length.ids(dim), direction.ids(dim))
    return direction


def _masked_weight_norm(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    if keep[0] is None:
        return None
    direction, length, *rest = arguments
    return op(torch.where(keep[0], direction, 0), length, *rest)


RULES: Rules = {
    "batch_norm": Rule(_batch, reference=_masked_batch),
    "instance_norm": Rule(_per_channel),
    "_native_batch_norm_legit_no_training": Rule(_native_batch),
    "layer_norm": Rule(_over_last, reference=_masked_layer),
    "native_layer_norm": Rule(_native_layer, reference=_masked_native_layer),
    "rms_norm": Rule(_over_last, reference=_masked_rms),
    "_weight_norm": Rule(_weight_norm, reference=_masked_weight_norm),
    "group_norm": Rule(_group, reference=_masked_group),
}
