"""The dense network with weights zeroed and modules bypassed: what those parts of a recipe have to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.pruning.bypass import bypassed
from edgeprune.pruning.capture import copied, run, tensors
from edgeprune.pruning.zeroing import checked_masks, zero_entries
from edgeprune.values.recipe import PruneRecipe


class EditedNetwork:
    """Runs a dense network with the zeros of a recipe in its weights and with hooks around the removed modules.

    Args:
        dense: Left as it is.
        recipe: Its zeros and removals count here.
    """

    def __init__(self, dense: nn.Module, recipe: PruneRecipe) -> None:
        self._network, self._removals = copied(dense), recipe.removals
        self._masks = checked_masks(dense, recipe.zeros)

    def run(self, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        """Compute the outputs.

        Args:
            state: Parameters and buffers of the dense model by name.
            inputs: The model's inputs; not modified.

        Returns:
            Output tensors, in order.
        """
        kind = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
        network = self._network.to(kind)
        with torch.no_grad():
            for name, tensor in tensors(network).items():
                tensor.copy_(state[name])
        zero_entries(network, self._masks)
        with bypassed(network, self._removals):
            return run(network, inputs)

    def masked_norms(self) -> tuple[str, ...]:
        """Return nothing: no norm loses channels here."""
        return ()
