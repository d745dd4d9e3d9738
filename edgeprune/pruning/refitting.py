"""Refit what a cut left: layer by layer, in closed form, to what the dense network computes there.

A cut takes inputs away from the layers that follow. What these inputs told is mostly in the ones that are left, too, so
each layer gets the weights that come closest to its dense outputs from what it now reads: a ridge regression towards
the weights that it has. Layers go in the order in which they run, so that each one reads what the earlier ones, refit,
now give. No gradient and no epoch; a network that a deep cut left near chance is mostly back before any training.

Source:
    He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", equation 1 with the channels fixed,
    arXiv:1707.06168. Reading the pruned network's own inputs is its section 3.2; the pull towards the old weights and
    the sampling of rows are ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeprune.pruning.capture import canonical_names, tensors
from edgeprune.pruning.surgery import kept_indices, starts_from
from edgeprune.values.batch import batches
from edgeprune.values.recipe import PruneRecipe

PULL = 1e-3
"""Of the regression towards the weights that are there, as a share of the mean square of an input."""

ROWS = 20_000
"""At most so many rows make up the regression of one layer: more positions of a picture tell little more."""

MAX_INPUTS = 4096
"""A layer with more inputs keeps its weights: its normal equations take the cube of that."""

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass(frozen=True, slots=True)
class _Pair:
    """One layer in both networks.

    Attributes:
        pruned: Is refit.
        dense: Gives the outputs.
        kept: Which of these are left; None for all.
    """

    pruned: Layer
    dense: nn.Module
    kept: Tensor | None


@torch.no_grad()
def refit(model: nn.Module, dense: nn.Module, recipe: PruneRecipe, train: Iterable[Any], n_batches: int) -> int:
    """Refit the weights of a pruned model in place, without training.

    Args:
        model: What `recipe` led to, in eval mode. Where its graph was written again, nothing is done.
        dense: The model before, in eval mode; only read. Nothing is done where the recipe does not start from it.
        recipe: What was cut. Layers with zeros that have to stay are left alone.
        train: Loader of (inputs, targets); the targets are not read.
        n_batches: How many batches to look at; 0 does nothing.

    Returns:
        How many layers were refit.
    """
    if not n_batches or not (recipe.cuts or recipe.removals) or recipe.rewriting is not None:
        return 0
    if not starts_from(recipe, dense):
        return 0
    inputs = [batch for batch, _ in batches(train, n_batches)]
    pairs = _pairs(model, dense, recipe, inputs[0])
    return sum(_refit(model, dense, pair, inputs) for pair in pairs)


def _pairs(model: nn.Module, dense: nn.Module, recipe: PruneRecipe, batch: Sequence[Any]) -> list[_Pair]:
    """Return the layers that can be refit, in the order in which they run."""
    kept, theirs = kept_indices(recipe), dict(dense.named_modules())
    tied = {name for name, n in Counter(canonical_names(tensors(model)).values()).items() if n > 1}
    zeroed = {zeros.tensor for zeros in recipe.zeros}
    found = []
    for name, module in _once_each(model, batch):
        weight = f"{name}.weight" if name else "weight"
        if weight not in tied | zeroed and _is_plain(module) and type(theirs.get(name)) is type(module):
            outputs = kept.get((weight, 0))
            found.append(_Pair(module, theirs[name], None if outputs is None else torch.tensor(outputs)))
    return found


def _once_each(model: nn.Module, batch: Sequence[Any]) -> list[tuple[str, nn.Module]]:
    # A layer that is called again reads different things; one fit cannot serve them all.
    names = {module: name for name, module in model.named_modules()}
    ran: list[nn.Module] = []
    handles = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in names]
    try:
        model(*batch)
    finally:
        for handle in handles:
            handle.remove()
    times = Counter(ran)
    return [(names[module], module) for module in ran if times[module] == 1]


def _is_plain(module: nn.Module) -> TypeGuard[Layer]:
    if isinstance(module, nn.Linear):
        return module.in_features <= MAX_INPUTS
    if not isinstance(module, (nn.Conv1d, nn.Conv2d)):
        return False
    plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return plain and module.weight[0].numel() <= MAX_INPUTS


def _refit(model: nn.Module, dense: nn.Module, pair: _Pair, inputs: Sequence[Sequence[Any]]) -> bool:
    layer = pair.pruned
    normal = _NormalEquations(layer.weight[0].numel() + (layer.bias is not None), len(layer.weight))
    rows = math.ceil(ROWS / len(inputs))
    for number, batch in enumerate(inputs):
        read, _ = _seen(model, layer, batch)
        _, wanted = _seen(dense, pair.dense, batch)
        normal.add(*_sampled(layer, read, _left(wanted, layer, pair.kept), rows, seed=number))
    return normal.solve_into(layer)


def _left(outputs: Tensor, layer: Layer, kept: Tensor | None) -> Tensor:
    return outputs if kept is None else outputs.index_select(-1 if isinstance(layer, nn.Linear) else 1, kept)


class _Found(Exception):
    """Ends a forward pass early; nothing is wrong."""


def _seen(model: nn.Module, layer: nn.Module, batch: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Return what a layer reads and gives; what comes after it is not run."""
    seen: list[Tensor] = []

    def look(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        seen.extend((args[0], output))
        raise _Found

    handle = layer.register_forward_hook(look)
    try:
        model(*batch)
    except _Found:
        pass
    finally:
        handle.remove()
    return seen[0], seen[1]


def _sampled(layer: Layer, read: Tensor, wanted: Tensor, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return rows of inputs and of the outputs wanted of them, shapes (n, inputs) and (n, outputs)."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(layer, nn.Linear):
        a, b = read.flatten(0, -2), wanted.flatten(0, -2)
    else:
        places = wanted[0, 0].numel()
        pictures = torch.randperm(len(read), generator=generator)[: math.ceil(4 * rows / places)]
        a, b = _unfolded(layer, read[pictures]), wanted[pictures].flatten(2).transpose(1, 2).flatten(0, 1)
    some = torch.randperm(len(a), generator=generator)[:rows]
    return a[some], b[some]


def _unfolded(layer: nn.Conv1d | nn.Conv2d, read: Tensor) -> Tensor:
    """Return what each position of a convolution reads, shape (pictures * positions, inputs)."""
    plane = read.unsqueeze(2) if isinstance(layer, nn.Conv1d) else read
    padding = layer.padding
    assert not isinstance(padding, str)  # see _is_plain
    kernel, dilation, stride = (_on_plane(each, 1) for each in (layer.kernel_size, layer.dilation, layer.stride))
    patches = F.unfold(plane, kernel, dilation, _on_plane(padding, 0), stride)
    return patches.transpose(1, 2).flatten(0, 1)


def _on_plane(sizes: tuple[int, ...], none: int) -> tuple[int, ...]:
    # A line is a plane of height one.
    return sizes if len(sizes) == 2 else (none, *sizes)


class _NormalEquations:
    """The sums that a least-squares fit needs, in float64.

    Args:
        n_inputs: With a bias, one more than weights.
        n_outputs: Of the layer.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self._gram = torch.zeros(n_inputs, n_inputs, dtype=torch.float64)
        self._moment = torch.zeros(n_inputs, n_outputs, dtype=torch.float64)

    def add(self, read: Tensor, wanted: Tensor) -> None:
        """Take in some rows.

        Args:
            read: Inputs, shape (n, inputs), without the one for the bias.
            wanted: Outputs, shape (n, outputs).
        """
        read, wanted = read.double(), wanted.double()
        if len(self._gram) > read.shape[1]:
            read = torch.cat([read, read.new_ones(len(read), 1)], 1)
        self._gram += read.T @ read
        self._moment += read.T @ wanted

    def solve_into(self, layer: Layer) -> bool:
        """Give a layer the weights that fit best.

        Args:
            layer: Changed.

        Returns:
            False where what it reads says nothing; the layer is then as it was.
        """
        weights = layer.weight.flatten(1).double()
        old = weights if layer.bias is None else torch.cat([weights, layer.bias.double().unsqueeze(1)], 1)
        pull = PULL * float(self._gram.diagonal().mean())
        if not 0 < pull < math.inf:
            return False
        pulled = self._gram + pull * torch.eye(len(self._gram), dtype=torch.float64)
        fitted = torch.linalg.solve(pulled, self._moment + pull * old.T).T
        if not torch.isfinite(fitted).all():
            return False
        layer.weight.copy_(fitted[:, : weights.shape[1]].reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(fitted[:, -1])
        return True
