"""Sums of products: linear layers, matrix products, embeddings."""

from __future__ import annotations

import math
from typing import Any

from torch.fx import Node

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.rules.rule import Rule, Rules, skip_masked
from edgeprune.pruning.trace import Trace

_MANY_ROWS = 16


def _linear(trace: Trace, node: Node, x: Labels, weight: Labels, bias: Labels | None = None) -> Labels:
    # x (..., K), weight (N, K) or (K,) -> (..., N) or (...).
    shape = shape_of(node)
    rest, out = trace.contract(x, -1, weight, -1)
    if len(weight.shape) == 1:
        return rest.renumbered({dim: dim for dim in range(len(shape))}, shape)
    if bias is not None:
        trace.union(bias.ids(0), out.ids(0))
    trace.produces(node.args[1], 0, math.prod(shape) // shape[-1])
    return Labels(shape, {**rest.axes, len(shape) - 1: out.ids(0)})


def _matmul(trace: Trace, node: Node, left: Labels, right: Labels) -> Labels:
    # left (..., M, K), right (..., K, N) -> (..., M, N); vectors as in torch.matmul.
    shape = shape_of(node)
    rows, columns = trace.contract(left, -1, right, -2 if len(right.shape) > 1 else 0)
    if len(right.shape) > 1:
        trace.produces(node.args[1], len(right.shape) - 1, math.prod(shape) // max(1, columns.shape[-1]))
    return trace.unify([_as_rows(rows, len(right.shape)), _as_columns(columns, len(left.shape))], shape)


def _as_rows(left: Labels, right_rank: int) -> Labels:
    # Labels of (..., M, K) summed over K, as (..., M, 1); a vector right leaves (..., M).
    last = len(left.shape) - 1
    kept = {dim: dim for dim in range(last)}
    if right_rank == 1:
        return left.renumbered(kept, left.shape[:-1])
    if last == 0:
        return Labels((1,))
    return left.renumbered(kept, (*left.shape[:-1], 1))


def _as_columns(right: Labels, left_rank: int) -> Labels:
    # Labels of (..., K, N) summed over K, as (..., 1, N); a vector left leaves (..., N).
    last = len(right.shape) - 1
    if last == 0:
        return Labels(())
    batch = {dim: dim for dim in range(last - 1)}
    if left_rank == 1:
        return right.renumbered({**batch, last: last - 1}, (*right.shape[:-2], right.shape[-1]))
    return right.renumbered({**batch, last: last}, (*right.shape[:-2], 1, right.shape[-1]))


def _addmm(trace: Trace, node: Node, bias: Labels, left: Labels, right: Labels, **scales: Any) -> Labels:
    shape = shape_of(node)
    rows, columns = trace.contract(left, -1, right, -2)
    product = [_as_rows(rows, 2), _as_columns(columns, 2)]
    return trace.unify([bias, trace.unify(product, shape)], shape)


def _einsum(trace: Trace, node: Node, equation: str, operands: list[Labels], **options: Any) -> Labels:
    # Dimensions with the same letter meet; letters that the result lacks are summed over.
    shape = shape_of(node)
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    repeats = any(len(set(term)) < len(term) for term in terms)
    if "." in equation or not arrow or repeats:
        for operand in operands:
            trace.freeze(operand, "is summed by a pattern of")
        return Labels(shape)
    letters = sorted(set("".join(terms)))
    found: dict[str, Labels] = {}
    for letter in letters:
        alone = [
            Labels((operand.shape[term.index(letter)],), {0: operand.ids(term.index(letter))})
            for term, operand in zip(terms, operands, strict=True)
            if letter in term
        ]
        found[letter] = trace.unify(alone, (max(side.shape[0] for side in alone),))
    axes = {place: found[letter].ids(0) for place, letter in enumerate(result) if found[letter].axes}
    return Labels(shape, axes)


def _embedding(trace: Trace, node: Node, weight: Labels, indices: Labels, *options: Any) -> Labels:
    # weight (V, C), indices (...) -> (..., C): the vocabulary stays.
    trace.freeze(weight.ids(0), "is looked up in")
    trace.produces(node.args[0], 1)
    shape = shape_of(node)
    return Labels(shape, {len(shape) - 1: weight.ids(1)})


def _skipping(op: Any, arguments: list[Any], keywords: dict[str, Any], keep: Any) -> Any:
    # For a few rows, picking columns of the weight takes longer than multiplying all of them.
    x, weight = arguments[:2]
    rows = x.numel() // max(1, x.shape[-1])
    if keywords or weight.dim() < 2 or rows < _MANY_ROWS:
        return None
    return skip_masked(op, arguments, x.dim() - 1, keep.along(0, x.dim() - 1))


RULES: Rules = {
    "linear": Rule(_linear, masks=((0, 1),), skipping=_skipping),
    "matmul": Rule(_matmul, masks=(0, 1)),
    "mm": Rule(_matmul, masks=(0, 1)),
    "bmm": Rule(_matmul, masks=(0, 1)),
    "mv": Rule(_matmul, masks=(0, 1)),
    "dot": Rule(_matmul, masks=(0, 1)),
    "addmm": Rule(_addmm, masks=(1, 2)),
    "baddbmm": Rule(_addmm, masks=(1, 2)),
    "einsum": Rule(_einsum, masks=(1,)),
    "embedding": Rule(_embedding),
}
