"""Ops that gather many elements into one, or that let elements of one dimension depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.fx import Node
from torch.utils._pytree import tree_map_only

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of, unlabelled
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _dims(x: Labels, dims: int | Sequence[int] | None) -> list[int]:
    rank = len(x.shape)
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(rank))
    return [dim % rank for dim in ([dims] if isinstance(dims, int) else dims)] if rank else []


def _dropped(x: Labels, dims: list[int], shape: tuple[int, ...]) -> Labels:
    # Labels of x after `dims` were reduced, whether or not these were kept with length 1.
    left = [dim for dim in range(len(x.shape)) if dim not in dims]
    if len(shape) == len(x.shape):
        return x.renumbered({dim: dim for dim in left}, shape)
    return x.renumbered({dim: position for position, dim in enumerate(left)}, shape)


def _given(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Return the dimensions that a call names after its tensor, or None for all."""
    given = arguments[0] if arguments else keywords.get("dim")
    return None if isinstance(given, bool) else given


def _statistic(trace: Trace, node: Node, x: Labels, *arguments: Any, **keywords: Any) -> Any:
    # A number over dimensions, which the pruned network takes over the channels that are left.
    return _summed(node, x, _dims(x, _given(arguments, keywords)))


def _over_kept(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: list[Any]) -> Any:
    x, mask = arguments[0], keep[0]
    dims = _dims(Labels(tuple(x.shape)), _given(arguments[1:], keywords))
    kept = x
    for dim in dims if mask is not None else []:
        if mask.shape[dim] > 1:
            others = [other for other in range(mask.dim()) if other != dim]
            kept = kept.index_select(dim, (mask.any(others) if others else mask).nonzero().ravel())
    return None if kept is x else op(kept, *arguments[1:], **keywords)


def _pick(trace: Trace, node: Node, x: Labels, *arguments: Any, **keywords: Any) -> Any:
    # An index or an order among channels would be another one once some are gone: they have to stay.
    return _reduced(trace, node, x, _given(arguments, keywords))


def _norm(trace: Trace, node: Node, x: Labels, order: Any = 2, dim: Any = None, *rest: Any, **keywords: Any) -> Any:
    return _summed(node, x, _dims(x, dim))


def _extreme(trace: Trace, node: Node, x: Labels, *arguments: Any, **keywords: Any) -> Any:
    # max and min: over a dimension, over everything, or of two tensors.
    if arguments and isinstance(arguments[0], Labels):
        return trace.unify([x, arguments[0]], shape_of(node))
    return _pick(trace, node, x, *arguments, **keywords)


def _reduced(trace: Trace, node: Node, x: Labels, dim: Any) -> Any:
    dims = _dims(x, dim)
    x = trace.freeze_axes(x, dims, "is reduced by")
    return tree_map_only(Labels, lambda value: _dropped(x, dims, value.shape), unlabelled(node))


def _sum(trace: Trace, node: Node, x: Labels, dim: Any = None, *rest: Any, **keywords: Any) -> Any:
    # A sum over channels is what is left of it when some are gone.
    return _summed(node, x, _dims(x, dim))


def _summed(node: Node, x: Labels, dims: list[int]) -> Any:
    return tree_map_only(Labels, lambda value: _dropped(x, dims, value.shape), unlabelled(node))


def _across(trace: Trace, node: Node, x: Labels, dim: int = -1, *rest: Any, **keywords: Any) -> Any:
    # Softmax and its like: every element depends on all others of its dimension.
    x = trace.freeze_axes(x, [dim], "is weighed against all others in") if x.shape else x
    return tree_map_only(Labels, lambda value: x.resized(value.shape), unlabelled(node))


def _pool(n: int) -> Rule:
    # Pool or resample the last n dimensions.

    def trace_pool(trace: Trace, node: Node, x: Labels, *options: Any, **keywords: Any) -> Any:
        kept = trace.freeze_axes(x, range(-n, 0), "is pooled by")
        return tree_map_only(Labels, lambda value: kept.resized(value.shape), unlabelled(node))

    return Rule(trace_pool)


_POOLS = {
    name.format(n=n): _pool(n)
    for n in (1, 2, 3)
    for name in (
        "avg_pool{n}d", "max_pool{n}d", "max_pool{n}d_with_indices", "adaptive_avg_pool{n}d",
        "adaptive_max_pool{n}d", "upsample_nearest{n}d", "_upsample_nearest_exact{n}d", "reflection_pad{n}d",
        "replication_pad{n}d",
    )
}  # fmt: skip

_STATISTICS = ("mean", "nanmean", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "any", "all")
_PICKS = ("argmax", "argmin", "prod", "median", "mode")
_WEIGHING = (
    "softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod",
    "logcumsumexp", "sort",
)  # fmt: skip

RULES: Rules = {
    **{name: Rule(_statistic, reference=_over_kept) for name in _STATISTICS},
    **{name: Rule(_pick) for name in _PICKS},
    "max": Rule(_extreme),
    "min": Rule(_extreme),
    "norm": Rule(_norm, masks=(0,)),
    "linalg_vector_norm": Rule(_norm, masks=(0,)),
    "sum": Rule(_sum, masks=(0,)),
    **{name: Rule(_across) for name in _WEIGHING},
    **_POOLS,
    "_adaptive_avg_pool2d": _pool(2),
    "_adaptive_avg_pool3d": _pool(3),
    "upsample_linear1d": _pool(1),
    "upsample_bilinear2d": _pool(2),
    "upsample_bicubic2d": _pool(2),
    "_upsample_bilinear2d_aa": _pool(2),
    "_upsample_bicubic2d_aa": _pool(2),
    "upsample_trilinear3d": _pool(3),
}
