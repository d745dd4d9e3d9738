"""Ops that work element by element: what meets in one element goes together."""

from __future__ import annotations

from typing import Any

from torch.fx import Node
from torch.utils._pytree import tree_leaves

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of, unlabelled, writes
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _elementwise(trace: Trace, node: Node, *arguments: Any, **keywords: Any) -> Any:
    # Combine all tensor arguments, broadcast.
    plain = not keywords and not any(isinstance(value, (list, tuple)) for value in arguments)
    values = arguments if plain else tree_leaves((arguments, keywords))
    operands = [value for value in values if isinstance(value, Labels)]
    if writes(node):
        # What is written into stays as wide as it was made, whatever it held.
        operands[0] = Labels(operands[0].shape, operands[0].axes)
    shape = shape_of(node)
    alone = len(operands) == 1 and operands[0].shape == shape and all(ids.any() for ids in operands[0].axes.values())
    return operands[0] if alone else trace.unify(operands, shape)


def _of_first(trace: Trace, node: Node, x: Labels, *others: Any, **keywords: Any) -> Labels:
    # Pass on the first argument's labels; the others only lend their type.
    return x


def _prelu(trace: Trace, node: Node, x: Labels, slope: Labels) -> Labels:
    if slope.shape[0] > 1:
        trace.union(slope.ids(0), x.ids(1))
    return x


def _getitem(trace: Trace, node: Node, values: Any, index: int) -> Any:
    return values[index]


def _nothing(trace: Trace, node: Node, *arguments: Any, **keywords: Any) -> Any:
    # Check or describe tensors without making any that carries channels.
    return unlabelled(node)


_COMBINING = (
    "add", "sub", "rsub", "mul", "div", "floor_divide", "true_divide", "remainder", "fmod", "pow", "maximum",
    "minimum", "atan2", "where", "masked_fill", "lerp", "addcmul", "addcdiv", "hypot",
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
    "bitwise_xor", "__and__", "__or__", "clamp", "clamp_min", "clamp_max", "copy", "fill",
)  # fmt: skip
_UNARY = (
    "relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", "gelu", "elu", "selu",
    "celu", "leaky_relu", "mish", "softplus", "log_sigmoid", "threshold", "hardshrink", "softshrink",
    "rrelu", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "square",
    "abs", "neg", "negative", "reciprocal", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "erf",
    "erfc", "sign", "floor", "ceil", "round", "trunc", "frac", "positive", "logit", "sigmoid_backward",
    "nan_to_num", "isnan", "isinf", "isfinite", "logical_not", "bitwise_not", "zero", "dropout",
    "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "clone", "contiguous", "detach", "alias",
    "lift_fresh", "lift_fresh_copy", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like",
    "empty_like",
)  # fmt: skip
_TYPING = ("to", "_to_copy", "type_as")
_CHECKS = (
    "_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range",
    "sym_constrain_range_for_size", "sym_size", "sym_numel", "item", "_local_scalar_dense",
)  # fmt: skip

RULES: Rules = {
    **{name: Rule(_elementwise) for name in _COMBINING + _UNARY},
    **{name: Rule(_of_first) for name in _TYPING},
    **{name: Rule(_nothing) for name in _CHECKS},
    "prelu": Rule(_prelu),
    "getitem": Rule(_getitem),
}
