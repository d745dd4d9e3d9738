"""Two recipes in a row -> one recipe of the model before both."""

from __future__ import annotations

from edgeprune.pruning.surgery import kept_indices
from edgeprune.values.recipe import GroupCut, PruneRecipe, Slice

Spot = tuple[str, int]


def composed(first: PruneRecipe, second: PruneRecipe) -> PruneRecipe:
    """Return the recipe that does what `first` and then `second` does.

    Args:
        first: Of the dense model.
        second: Of what `first` left.

    Returns:
        Of the dense model.
    """
    if not first.cuts:
        return second
    left = kept_indices(first)
    sizes = {(s.tensor, s.dim): s.size for cut in first.cuts for s in cut.slices}
    later = {cut.name: _lifted(cut, left, sizes) for cut in second.cuts}
    cuts = [_joined(cut, later.pop(cut.name, None)) for cut in first.cuts]
    attributes = {(module, name): value for module, name, value in (*first.attributes, *second.attributes)}
    return PruneRecipe(
        (*cuts, *later.values()),
        tuple((module, name, value) for (module, name), value in attributes.items()),
        rewriting=second.rewriting or first.rewriting,
    )


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


def _joined(first: GroupCut, second: GroupCut | None) -> GroupCut:
    # Remove from a group what either cut removes.
    if second is None:
        return first
    other = {(s.tensor, s.dim): s for s in second.slices}
    slices = tuple(
        Slice(s.tensor, s.dim, s.size, tuple(sorted(set(s.kept) & set(other[s.tensor, s.dim].kept))))
        for s in first.slices
    )
    return GroupCut(first.name, first.width, tuple(first.kept[index] for index in second.kept), slices)
