"""PruneRecipe + nn.Module -> the module with its tensors sliced and its attributes following."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgeprune.errors import ModelError
from edgeprune.pruning.bypass import remove
from edgeprune.pruning.capture import canonical_names, copied, modules_of, tensors
from edgeprune.pruning.perturbation import Perturbed, selected
from edgeprune.pruning.zeroing import checked_masks, zero_entries
from edgeprune.values.recipe import PruneRecipe, Slice

Value = int | tuple[int, ...]


def cut(model: nn.Module, recipe: PruneRecipe) -> None:
    """Slice a model in place.

    Args:
        model: Changed; whole if the recipe does not fit it.
        recipe: What to cut.
    """
    kept = _kept(recipe)
    held = tensors(model)
    for cut_ in recipe.cuts:
        for slice_ in cut_.slices:
            _check(held, slice_)
    modules = modules_of(model)
    for name, attribute, _ in recipe.attributes:
        _check_attribute(modules, name, attribute)
    masks = checked_masks(model, recipe.zeros)
    remove(model, recipe.removals)
    zero_entries(model, {name: mask for name, mask in masks.items() if name in tensors(model)})
    _slice_all(model, kept)
    set_attributes(model, recipe)


def cut_copy(model: nn.Module, recipe: PruneRecipe) -> nn.Module:
    """Slice a copy of a model, without copying what goes.

    Args:
        model: Left as it is.
        recipe: What to cut; nothing but slices.

    Returns:
        The copy.
    """
    held = tensors(model)
    first = canonical_names(held)
    sliced = _sliced(first, held, _kept(recipe))
    return copied(model, {id(held[name]): _like(held[name], value) for name, value in sliced.items()})


def _like(old: Tensor, new: Tensor) -> Tensor:
    return nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new


def set_attributes(model: nn.Module, recipe: PruneRecipe) -> None:
    """Let the attributes of a sliced model follow.

    Args:
        model: Changed.
        recipe: What was cut.
    """
    modules = modules_of(model, again=True)
    for name, attribute, value in recipe.attributes:
        setattr(modules[name], attribute, value)


def starts_from(recipe: PruneRecipe, model: nn.Module) -> bool:
    """Return whether a model has the tensors and the widths that a recipe cuts."""
    held = tensors(model)
    return all(
        slice_.tensor in held and held[slice_.tensor].shape[slice_.dim : slice_.dim + 1] == (slice_.size,)
        for group in recipe.cuts
        for slice_ in group.slices
    )


def kept_indices(recipe: PruneRecipe) -> dict[tuple[str, int], list[int]]:
    """Return for each cut tensor dimension the indices that every group leaves there, ascending."""
    return {spot: indices.tolist() for spot, indices in _kept(recipe).items()}


def _kept(recipe: PruneRecipe) -> dict[tuple[str, int], Tensor]:
    # The slices of a group mostly share what they keep: each such tuple is read once.
    indices: dict[int, Tensor] = {}
    slices: dict[tuple[str, int], list[Slice]] = {}
    for group in recipe.cuts:
        for slice_ in group.slices:
            slices.setdefault((slice_.tensor, slice_.dim), []).append(slice_)
            if id(slice_.kept) not in indices:
                indices[id(slice_.kept)] = torch.from_numpy(np.array(slice_.kept, dtype=np.int64))
    return {spot: _in_all([indices[id(s.kept)] for s in found], found[0].size) for spot, found in slices.items()}


def _in_all(kept: list[Tensor], size: int) -> Tensor:
    """Return the indices below `size` that are in each vector, ascending."""
    if len(kept) == 1:
        return kept[0]
    return torch.nonzero(torch.bincount(torch.cat(kept), minlength=size) == len(kept)).ravel()


def _check(held: Mapping[str, Tensor], slice_: Slice) -> None:
    tensor = held.get(slice_.tensor)
    step = "Build the model with the code and the sizes with which it was pruned."
    if tensor is None:
        raise ModelError(f"The recipe cuts {slice_.tensor!r}, and the model has no such tensor.", step)
    if slice_.dim >= tensor.dim() or tensor.shape[slice_.dim] != slice_.size:
        raise ModelError(
            f"The recipe cuts dimension {slice_.dim} of {slice_.tensor!r} from length {slice_.size}, "
            f"and its shape is {tuple(tensor.shape)}.",
            step,
        )
    if not slice_.kept or min(slice_.kept) < 0 or max(slice_.kept) >= slice_.size:
        raise ModelError(f"The recipe keeps indices of {slice_.tensor!r} that do not exist.", "Prune again.")


def _check_attribute(modules: Mapping[str, nn.Module], name: str, attribute: str) -> None:
    if name not in modules or not hasattr(modules[name], attribute):
        raise ModelError(
            f"The recipe sets {attribute!r} of module {name!r}, and the model has none.",
            "Build the model with the code with which it was pruned.",
        )


def _slice_all(model: nn.Module, kept: Mapping[tuple[str, int], Tensor]) -> None:
    """Slice each tensor once, and put it back under each of its names."""
    held = tensors(model)
    first = canonical_names(held)
    sliced = _sliced(first, held, kept)
    for name, base in first.items():
        if base in sliced:
            _put(model, name, held[base], sliced, base)


def _sliced(
    first: Mapping[str, str],
    held: Mapping[str, Tensor],
    kept: Mapping[tuple[str, int], Tensor],
    parts: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    indices: dict[str, dict[int, Tensor]] = {}
    for (name, dim), left in kept.items():
        base = first[name]
        indices.setdefault(base, {}).setdefault(dim, left)  # else it is tied, and cut alike under another name
    if isinstance(held, Perturbed):
        known = parts or {}
        return {base: held.cut(base, places, known.get(base)) for base, places in indices.items()}
    return {base: selected(held[base].detach(), places) for base, places in indices.items()}


def cut_tensors(
    model: nn.Module, state: Perturbed, recipe: PruneRecipe, parts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Cut perturbed tensors as those of a model are cut.

    Args:
        model: Dense; left as it is.
        state: The model's tensors, perturbed.
        recipe: What is cut.
        parts: Tensors of the pruned model, by name: where nothing is zeroed, these are scaled instead of cutting the
            dense ones once more.

    Returns:
        What they are in the pruned model, by name; those of removed modules included.
    """
    first = canonical_names(state.plain)
    masks = {first[name]: mask for name, mask in checked_masks(model, recipe.zeros).items()}
    zeroed = {name: state[name].masked_fill(mask, 0) for name, mask in masks.items()}
    held: Mapping[str, Tensor] = {**state, **zeroed} if zeroed else state  # most are made when they are asked for
    sliced = _sliced(first, held, _kept(recipe), parts)
    return {name: sliced[base] if base in sliced else held[base] for name, base in first.items()}


def _put(model: nn.Module, name: str, old: Tensor, sliced: dict[str, Tensor], base: str) -> None:
    if not isinstance(sliced[base], nn.Parameter):
        sliced[base] = _like(old, sliced[base])
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, sliced[base])


def following_attributes(model: nn.Module, counts: Mapping[str, int]) -> tuple[tuple[str, str, Value], ...]:
    """Return the attributes that no longer say what a sliced model's tensors are.

    Args:
        model: Already sliced.
        counts: Modules whose width shows in no tensor of theirs, and that width.

    Returns:
        Module name, attribute and new value, for those that change.
    """
    changed: list[tuple[str, str, Value]] = []
    for name, module in modules_of(model).items():
        kind: Any = type(module)
        derive = _derivation(kind)
        for attribute, value in derive(module, counts.get(name)).items() if derive else ():
            if getattr(module, attribute) != value:
                changed.append((name, attribute, value))
    return tuple(changed)


@cache
def _derivation(kind: Any) -> Callable[[Any, int | None], dict[str, Value]] | None:
    return next((derive for known, derive in _DERIVE.items() if issubclass(kind, known)), None)


def _convolution(module: Any, count: int | None) -> dict[str, Value]:
    out, per_group = module.weight.shape[:2]
    groups = module.groups
    if groups > 1 and module.in_channels == groups:
        groups = out // (module.out_channels // module.groups)
    return {"out_channels": out, "in_channels": per_group * groups, "groups": groups}


def _transposed_convolution(module: Any, count: int | None) -> dict[str, Value]:
    into, per_group = module.weight.shape[:2]
    groups = into if module.groups > 1 and module.in_channels == module.groups else module.groups
    return {"in_channels": into, "out_channels": per_group * groups, "groups": groups}


def _linear(module: Any, count: int | None) -> dict[str, Value]:
    out, into = module.weight.shape
    return {"out_features": out, "in_features": into}


def _norm(module: Any, count: int | None) -> dict[str, Value]:
    known = module.weight if module.weight is not None else module.running_mean
    width = known.shape[0] if known is not None else count
    return {} if width is None else {"num_features": width}


def _group_norm(module: Any, count: int | None) -> dict[str, Value]:
    width = module.weight.shape[0] if module.weight is not None else count
    return {} if width is None else {"num_channels": width}


def _layer_norm(module: Any, count: int | None) -> dict[str, Value]:
    if module.weight is not None:
        return {"normalized_shape": tuple(module.weight.shape)}
    return {} if count is None or len(module.normalized_shape) != 1 else {"normalized_shape": (count,)}


def _embedding(module: Any, count: int | None) -> dict[str, Value]:
    return {"num_embeddings": module.weight.shape[0], "embedding_dim": module.weight.shape[1]}


def _prelu(module: Any, count: int | None) -> dict[str, Value]:
    return {"num_parameters": module.weight.shape[0]}


def _recurrent(module: Any, count: int | None) -> dict[str, Value]:
    # A projected cell feeds its projection back, and its own width is never cut.
    hidden = module.hidden_size if module.proj_size else module.weight_hh_l0.shape[1]
    return {"input_size": module.weight_ih_l0.shape[1], "hidden_size": hidden}


_DERIVE: dict[type[nn.Module], Callable[[Any, int | None], dict[str, Value]]] = {
    _ConvTransposeNd: _transposed_convolution,
    _ConvNd: _convolution,
    nn.Linear: _linear,
    _NormBase: _norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _layer_norm,
    nn.Embedding: _embedding,
    nn.PReLU: _prelu,
    nn.LSTM: _recurrent,
    nn.GRU: _recurrent,
}
"""Module type to the attributes that follow from its tensors; the first that fits counts."""
