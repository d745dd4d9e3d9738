"""The average of a network's weights over the last steps of its training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_swa_multi_avg_fn

_count_in = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]


class AveragedWeights:
    """Running means of what an optimizer trains.

    Weights that keep moving at one learning rate circle around a wide minimum; their mean lies nearer to its middle
    than where they happen to stop, and does better on data that was not trained on.

    Args:
        model: Its parameters with gradients count.

    Source:
        Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", section 3.2,
        arXiv:1803.05407.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._means: list[Tensor] = []
        self._count = 0

    def add(self) -> None:
        """Count the weights of now in."""
        if self._means:
            _count_in(self._means, [weight.detach() for weight in self._weights], self._count)
        else:
            self._means = [weight.detach().clone() for weight in self._weights]
        self._count += 1

    def take(self) -> None:
        """Give the model the means; nothing if there are none."""
        with torch.no_grad():
            for weight, mean in zip(self._weights, self._means, strict=False):
                weight.copy_(mean)
