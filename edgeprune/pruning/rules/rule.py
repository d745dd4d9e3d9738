"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


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
    """

    trace: Callable[..., Any]
    masks: tuple[int | tuple[int, ...], ...] = ()
    reference: Callable[..., Any] | None = None


Rules = Mapping[str, Rule]
"""ATen name, without overload and in-place underscore, to its rule."""
