"""Two recipes in a row -> one recipe of the model before both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from edgeprune.pruning.surgery import kept_indices
from edgeprune.pruning.zeroing import packed, unpacked
from edgeprune.values.recipe import GroupCut, PruneRecipe, Slice, Zeros

Spot = tuple[str, int]


def composed(first: PruneRecipe, second: PruneRecipe) -> PruneRecipe:
    """Return the recipe that does what `first` and then `second` does.

    Args:
        first: Of the dense model.
        second: Of what `first` left.

    Returns:
        Of the dense model.
    """
    removals = (*first.removals, *second.removals)
    zeros = _zeros(first, second)
    first = _without(first, tuple(f"{removal.module}." for removal in second.removals))
    if not first.cuts:
        return replace(second, zeros=zeros, removals=removals, rewriting=second.rewriting or first.rewriting)
    left = kept_indices(first)
    sizes = {(s.tensor, s.dim): s.size for cut in first.cuts for s in cut.slices}
    later = {cut.name: _lifted(cut, left, sizes) for cut in second.cuts}
    cuts = [_joined(cut, later.pop(cut.name)) if _same(cut, later.get(cut.name)) else cut for cut in first.cuts]
    attributes = {(module, name): value for module, name, value in (*first.attributes, *second.attributes)}
    return PruneRecipe(
        (*cuts, *later.values()),
        tuple((module, name, value) for (module, name), value in attributes.items()),
        zeros,
        removals,
        rewriting=second.rewriting or first.rewriting,
    )


def _without(recipe: PruneRecipe, gone: tuple[str, ...]) -> PruneRecipe:
    # A recipe removes modules before it cuts channels, so that nothing is cut of what is gone.
    if not gone:
        return recipe
    cuts = [replace(cut, slices=tuple(s for s in cut.slices if not s.tensor.startswith(gone))) for cut in recipe.cuts]
    attributes = tuple(entry for entry in recipe.attributes if not f"{entry[0]}.".startswith(gone))
    return replace(recipe, cuts=tuple(cut for cut in cuts if cut.slices), attributes=attributes)


def _zeros(first: PruneRecipe, second: PruneRecipe) -> tuple[Zeros, ...]:
    # Number later zeros as they were before the first cut.
    left = kept_indices(first)
    sizes = {(s.tensor, s.dim): s.size for cut in first.cuts for s in cut.slices}
    masks = {zeros.tensor: unpacked(zeros) for zeros in first.zeros}
    for zeros in second.zeros:
        shape = [sizes.get((zeros.tensor, dim), length) for dim, length in enumerate(zeros.shape)]
        kept = [left.get((zeros.tensor, dim), list(range(length))) for dim, length in enumerate(shape)]
        mask = masks.setdefault(zeros.tensor, torch.zeros(shape, dtype=torch.bool))
        mask[np.ix_(*kept)] |= unpacked(zeros)
    return packed(masks)


def _lifted(cut: GroupCut, left: dict[Spot, list[int]], sizes: dict[Spot, int]) -> GroupCut:
    # Number the indices of a later cut as they were before the first one, and keep what the first one removed.
    slices = []
    for slice_ in cut.slices:
        spot = (slice_.tensor, slice_.dim)
        size = sizes.get(spot, slice_.size)
        before = left.get(spot, range(size))
        removed = {before[index] for index in set(range(slice_.size)) - set(slice_.kept)}
        slices.append(Slice(*spot, size, tuple(index for index in range(size) if index not in removed)))
    return GroupCut(cut.name, cut.width, cut.kept, tuple(slices))


def _same(first: GroupCut, second: GroupCut | None) -> bool:
    # Removing a layer between two cuts may couple groups that were not; their cuts then stand side by side.
    if second is None or second.width != len(first.kept):
        return False
    return {(s.tensor, s.dim) for s in first.slices} == {(s.tensor, s.dim) for s in second.slices}


def _joined(first: GroupCut, second: GroupCut) -> GroupCut:
    # Remove from a group what either cut removes.
    other = {(s.tensor, s.dim): s for s in second.slices}
    slices = tuple(
        Slice(s.tensor, s.dim, s.size, tuple(sorted(set(s.kept) & set(other[s.tensor, s.dim].kept))))
        for s in first.slices
    )
    return GroupCut(first.name, first.width, tuple(first.kept[index] for index in second.kept), slices)
