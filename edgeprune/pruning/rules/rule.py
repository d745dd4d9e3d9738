"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rule:
    """How one op passes channel labels on, and what it computes once channels are masked.

    Attributes:
        trace: Called with the trace, the node, and the op's own arguments with labels in place of tensors; returns
            the labels of the result.
        masks: Positions of the arguments across whose channels the op sums: the masked reference sets their removed
            elements to zero before it calls the op. A position within a tuple stands for any one of the tuple: the
            smallest is masked, since a product with zero is zero whichever factor is.
        reference: Called with the op, its arguments, its keywords and, for each argument, its keep mask or None;
            returns the result over what is kept, or None where nothing across which the op works is removed. Only
            for ops to which a zero is not the same as nothing, such as norms.
        skipping: Called like `reference`; returns what the op gives with masked arguments, but without multiplying
            by their zeros, or None where this would not be faster. `keep.along(position, axis)` gives it the indices
            that are left.
    """

    trace: Callable[..., Any]
    masks: tuple[int | tuple[int, ...], ...] = ()
    reference: Callable[..., Any] | None = None
    skipping: Callable[..., Any] | None = None


Rules = Mapping[str, Rule]
"""ATen name, without overload and in-place underscore, to its rule."""


def skip_masked(op: Any, arguments: list[Any], axis: int, kept: Tensor | None) -> Any:
    """Sum a product of an input and a weight over the indices of the input that are kept.

    Args:
        op: Takes the input and the weight first, and sums over dimension 1 of the weight.
        arguments: Of the op.
        axis: Of the input, along which it sums.
        kept: Indices along it; None if that is not all there is to mask.

    Returns:
        What the op gives for a masked input; None if this does not say it.
    """
    x, weight, *rest = arguments
    if kept is None or weight.shape[1] != x.shape[axis]:
        return None
    return op(x.index_select(axis, kept), weight.index_select(1, kept), *rest)
