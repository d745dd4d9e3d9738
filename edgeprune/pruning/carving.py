"""Which channels each group keeps -> the sliced module and its recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.pruning.surgery import cut_copy, following_attributes, set_attributes
from edgeprune.pruning.trace import Trace
from edgeprune.values.recipe import GroupCut, PruneRecipe, Slice


@dataclass(frozen=True, slots=True)
class Selection:
    """What some groups of a trace keep.

    Attributes:
        trace: Of the model.
        groups: Groups that may lose channels.
        kept: For each of them the channels that stay, ascending.
    """

    trace: Trace
    groups: Sequence[ChannelGroup]
    kept: Sequence[Ids]

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Return for each channel id of the trace whether it is removed."""
        removed = [np.delete(group.roots, kept) for group, kept in zip(self.groups, self.kept, strict=True)]
        return self.trace.gone(np.concatenate(removed))

    @property
    def cuts(self) -> tuple[GroupCut, ...]:
        """Return what the groups that lose channels lose."""
        pairs = zip(self.groups, self.kept, strict=True)
        return tuple(_group_cut(group, kept) for group, kept in pairs if len(kept) < group.n_channels)


def _group_cut(group: ChannelGroup, kept: Ids) -> GroupCut:
    gone = np.ones(group.n_channels, dtype=np.bool_)
    gone[kept] = False
    stays: dict[tuple[int, int], tuple[int, ...]] = {}  # most places of a group share their indices
    slices = []
    for place in group.places:
        key = (id(place.indices), place.size)
        if key not in stays:
            left = np.ones(place.size, dtype=np.bool_)
            left[place.indices[gone]] = False
            stays[key] = tuple(np.flatnonzero(left).tolist())
        slices.append(Slice(place.tensor, place.dim, place.size, stays[key]))
    return GroupCut(group.name, group.n_channels, tuple(kept.tolist()), tuple(slices))


def carve(model: nn.Module, selection: Selection) -> tuple[nn.Module, PruneRecipe]:
    """Cut a copy of a model.

    Args:
        model: Left as it is.
        selection: What stays.

    Returns:
        The smaller module, and the recipe that makes it.
    """
    gone, cuts = selection.gone, selection.cuts
    pruned = cut_copy(model, PruneRecipe(cuts))
    counts = {module: int((~gone[ids]).sum()) for module, ids in selection.trace.followers.items()}
    recipe = PruneRecipe(cuts, following_attributes(pruned, counts))
    set_attributes(pruned, recipe)
    return pruned, recipe
