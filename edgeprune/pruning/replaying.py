"""PruneRecipe + a fresh model -> the pruned model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.pruning.batching import find_batching
from edgeprune.pruning.capture import capture, checked_run, copied
from edgeprune.pruning.rewriting import rewritten
from edgeprune.pruning.surgery import cut
from edgeprune.pruning.walk import walk
from edgeprune.values.recipe import InputShape, PruneRecipe, Rewriting


def replay(model: nn.Module, recipe: PruneRecipe) -> nn.Module:
    """Cut a fresh model in the same way.

    Args:
        model: Built like the one that was pruned; left as it is.
        recipe: What was cut.

    Returns:
        A pruned copy, with the kept slices of `model`'s own tensors.

    Raises:
        ModelError: The recipe does not fit the model.
    """
    pruned = copied(model)
    if recipe.rewriting is None:
        cut(pruned, recipe)
        return pruned
    cut(copied(model), replace(recipe, rewriting=None, attributes=()))  # whole or not at all
    cut(pruned, replace(recipe, cuts=(), attributes=(), rewriting=None))
    inputs = example_inputs(recipe.rewriting)
    if not inputs:
        raise ModelError("The recipe does not say with which inputs the model was captured.", "Prune again.")
    training = model.training
    pruned.eval()
    checked_run(pruned, inputs)
    captured = capture(pruned, inputs)
    trace = walk(pruned, captured, recipe.rewriting.heads)
    module = rewritten(pruned, captured, trace, recipe.cuts, find_batching(pruned, captured, inputs))
    return module.train(training)


def rewriting_of(inputs: Sequence[Any], heads: str) -> Rewriting:
    """Return what a recipe says of a graph that was written again.

    Args:
        inputs: With which it was captured.
        heads: What goes from attention.

    Returns:
        The shapes and types of the inputs, none if one of them is no tensor.
    """
    if not all(isinstance(value, Tensor) for value in inputs):
        return Rewriting((), heads)
    shapes = tuple(InputShape(tuple(v.shape), str(v.dtype).removeprefix("torch.")) for v in inputs)
    return Rewriting(shapes, heads)


def example_inputs(rewriting: Rewriting) -> tuple[Tensor, ...]:
    """Return inputs of the kind with which a model was captured.

    Args:
        rewriting: From a recipe.

    Returns:
        Ones.
    """
    return tuple(torch.ones(shape.shape, dtype=getattr(torch, shape.dtype)) for shape in rewriting.inputs)
