"""A number of parameters -> the share of channels that has to go for it."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from edgeprune.errors import PruneError
from edgeprune.pruning.carving import Selection
from edgeprune.pruning.cost import count_params
from edgeprune.pruning.surgery import kept_indices
from edgeprune.values.recipe import PruneRecipe

_HALVINGS = 16
"""To a hundred-thousandth of the channels, which is finer than any width."""


def params_left(model: nn.Module, selection: Selection) -> int:
    """Count the parameters that a selection leaves, without cutting.

    Args:
        model: The dense one.
        selection: What stays.

    Returns:
        Number of elements; tied ones count once.
    """
    kept = kept_indices(PruneRecipe(selection.cuts))
    gone = 0
    for name, parameter in model.named_parameters():
        left = 1
        for dim, length in enumerate(parameter.shape):
            left *= len(kept[name, dim]) if (name, dim) in kept else length
        gone += parameter.numel() - left
    return count_params(model) - gone


def ratio_for(model: nn.Module, most: float, select: Callable[[float], Selection]) -> float:
    """Find the smallest share of channels to remove that leaves at most so many parameters.

    Args:
        model: Before the cut.
        most: Parameters.
        select: Share of channels to remove -> what stays.

    Returns:
        Share of channels, in [0, 1).

    Raises:
        PruneError: What has to stay is larger than that.
    """
    low, high = 0.0, 1 - 1e-6
    least = params_left(model, select(high))
    if least > most:
        raise PruneError(
            f"{math.floor(most):,} parameters cannot be reached: {least:,} have to stay.",
            "Ask for more of them, or exclude fewer layers.",
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if params_left(model, select(middle)) <= most else (middle, high)
    return high
