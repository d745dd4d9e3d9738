"""Batch norms folded into the layers before them, as exporters do: a shared value must not be scaled afterwards."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._pytree import tree_leaves

TOLERANCE = 1e-4
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def folded(model: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    """Fold every batch norm that reads the output of one convolution or linear layer and nothing else.

    Args:
        model: In eval mode; left as it is.
        inputs: Example inputs.

    Returns:
        A copy that gives the same outputs; the model itself where there is nothing to fold, or where the outputs would
        change because something besides the batch norm reads what the layer gives.
    """
    pairs = _pairs(model, inputs)
    if not pairs:
        return model
    copy = deepcopy(model)
    for norm, layer in pairs.items():
        _fold(copy, norm, layer)
    return copy if _agree(model, copy, inputs) else model


def _pairs(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, str]:
    """Return batch norms and the layers whose outputs they read; both run once."""
    made: dict[int, tuple[str, Tensor]] = {}
    pairs: dict[str, str] = {}
    calls: list[str] = []

    def note(name: str, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        calls.append(name)
        if isinstance(module, _LAYERS):
            made[id(output)] = (name, output)  # holding on to the tensor keeps its id its own
        elif id(given[0]) in made:
            pairs[name] = made[id(given[0])][0]

    handles = [
        module.register_forward_hook(lambda module, given, output, name=name: note(name, module, given, output))
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) or (isinstance(module, _BatchNorm) and module.track_running_stats)
    ]
    try:
        _outputs(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {norm: layer for norm, layer in pairs.items() if calls.count(norm) == calls.count(layer) == 1}


def _fold(model: nn.Module, norm: str, layer: str) -> None:
    old, statistics = model.get_submodule(layer), model.get_submodule(norm)
    assert isinstance(statistics, _BatchNorm)
    fuse: Any = fuse_linear_bn_eval if isinstance(old, nn.Linear) else fuse_conv_bn_eval
    model.set_submodule(layer, fuse(old, statistics))
    model.set_submodule(norm, nn.Identity())


def _agree(first: nn.Module, second: nn.Module, inputs: tuple[Any, ...]) -> bool:
    pairs = zip(_outputs(first, inputs), _outputs(second, inputs), strict=True)
    return all(float((a - b).abs().max()) <= TOLERANCE * (1e-6 + float(a.abs().max())) for a, b in pairs)


def _outputs(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(model(*inputs)) if isinstance(leaf, Tensor)]
