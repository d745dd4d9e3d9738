"""What a model costs: parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.pruning.capture import copied


def count_params(model: nn.Module) -> int:
    """Count the parameters, tied ones once.

    Args:
        model: Any module.

    Returns:
        Number of elements.
    """
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example_inputs: Sequence[Any]) -> int:
    """Count the multiply-accumulates of convolutions, matrix products and attention in one forward pass.

    Args:
        model: Any module; run as it is in eval mode, on a copy.
        example_inputs: Positional arguments of its forward, batch first.

    Returns:
        Multiply-accumulates per example.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        copied(model).eval()(*example_inputs)
    return counter.get_total_flops() // (2 * batch_size(example_inputs))


def batch_size(example_inputs: Sequence[Any]) -> int:
    """Return the length of the first input's first dimension; 1 where there is none."""
    first = next((leaf for leaf in tree_leaves(tuple(example_inputs)) if isinstance(leaf, Tensor)), None)
    return max(1, len(first)) if first is not None and first.dim() else 1
