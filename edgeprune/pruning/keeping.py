"""Zeros that stay zero while a model is trained, whatever trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.pruning.capture import tensors
from edgeprune.pruning.surgery import kept_indices
from edgeprune.pruning.zeroing import unpacked, zero_entries
from edgeprune.values.recipe import PruneRecipe

Recover: TypeAlias = Callable[[nn.Module, PruneRecipe], None]
"""Trains a model, in place, between two steps; the recipe says what led to it."""


def live_masks(recipe: PruneRecipe) -> dict[str, Tensor]:
    """Return the zeros of a recipe as they stand in the model that it leads to.

    Args:
        recipe: Of the dense model.

    Returns:
        Tensor name to mask, in the shape after all cuts; tensors of removed modules are left out.
    """
    kept = kept_indices(recipe)
    gone = tuple(f"{removal.module}." for removal in recipe.removals)
    masks = {}
    for zeros in recipe.zeros:
        if not zeros.tensor.startswith(gone):
            axes = [kept.get((zeros.tensor, dim), range(length)) for dim, length in enumerate(zeros.shape)]
            masks[zeros.tensor] = torch.from_numpy(unpacked(zeros).numpy()[np.ix_(*map(list, axes))])
    return masks


@contextmanager
def zeros_kept(model: nn.Module, recipe: PruneRecipe) -> Iterator[None]:
    """Train a model inside this block, by any trainer, and its zeros are zero in every forward pass and after it.

    The masks are put back before each forward pass of the whole model.

    Args:
        model: What `recipe` led to.
        recipe: Of the dense model.

    Yields:
        Nothing.

    Raises:
        ModelError: The model is not what the recipe leads to.
    """
    masks = live_masks(recipe)
    held = tensors(model)
    for name, mask in masks.items():
        if name not in held or held[name].shape != mask.shape:
            raise ModelError(f"{name!r} is not as the recipe left it.", "Give the recipe of this very model.")
    handle = model.register_forward_pre_hook(lambda module, args: zero_entries(model, masks))
    try:
        yield
    finally:
        handle.remove()
        zero_entries(model, masks)


def between_steps(recover: Recover | None) -> Recover:
    """Return a hook for methods to call between two steps.

    Args:
        recover: The user's, or None.

    Returns:
        A function that trains with the zeros kept, and leaves the model in eval mode; it does nothing without a hook.
    """

    def recovered(model: nn.Module, recipe: PruneRecipe) -> None:
        if recover is not None:
            with zeros_kept(model, recipe):
                recover(model, recipe)
            model.eval()

    return recovered
