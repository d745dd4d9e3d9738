"""A network whose weights are looked up in small tables of values, which training moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgeprune.pruning.capture import tensors
from edgeprune.pruning.clustering import Clusters


class Table(nn.Module):
    """One tensor of weights: where they are not zero, which value each takes, and the values, which are trained.

    Args:
        weight: The tensor; its zeros stay zero.
        clusters: Of its other entries, in their order.
    """

    positions: Tensor
    codes: Tensor

    def __init__(self, weight: Tensor, clusters: Clusters) -> None:
        super().__init__()
        self.shape = weight.shape
        self.values = nn.Parameter(torch.from_numpy(clusters.centroids.copy()).to(weight.dtype))
        self.register_buffer("positions", weight.detach().flatten().nonzero().squeeze(1))
        self.register_buffer("codes", torch.from_numpy(clusters.codes))

    def forward(self) -> Tensor:
        """Return the weights; the gradient of a value is the sum of those of its weights."""
        empty = self.values.new_zeros(self.shape.numel())
        return empty.index_copy(0, self.positions, self.values[self.codes]).reshape(self.shape)


class SharedNetwork(nn.Module):
    """A model that computes with shared weights. What is not shared (biases, norms) is trained as before.

    Args:
        model: Its own tensors that are shared are no longer used.
        clusters: Tensor name to the clusters of its nonzero entries.
    """

    def __init__(self, model: nn.Module, clusters: Mapping[str, Clusters]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(clusters)
        held = tensors(model)
        self.tables = nn.ModuleList(Table(held[name], clusters[name]) for name in self.names)

    def forward(self, *inputs: Any) -> Any:
        """Compute the model's outputs.

        Args:
            inputs: As the model takes them.

        Returns:
            What the model gives.
        """
        return functional_call(self.model, self._weights(), inputs)

    def _weights(self) -> dict[str, Tensor]:
        return {name: cast(Tensor, table()) for name, table in zip(self.names, self.tables, strict=True)}

    def write_back(self) -> nn.Module:
        """Return the model with the shared weights in its own tensors."""
        held = tensors(self.model)
        with torch.no_grad():
            for name, weight in self._weights().items():
                held[name].copy_(weight)
        return self.model
