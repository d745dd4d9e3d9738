"""Labels -> channel groups: the channels that stand in the same dimensions of the same tensors."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from edgeprune.pruning.classes import Ids
from edgeprune.pruning.evidence import Evidence
from edgeprune.pruning.trace import Trace


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group's channels stand in one dimension of one tensor.

    Attributes:
        tensor: Its name.
        dim: The dimension.
        size: Its length.
        indices: Per channel, shape (n_channels, indices per channel).
        produces: Whether the channels are made here: the out dimension of a weight.
    """

    tensor: str
    dim: int
    size: int
    indices: Ids
    produces: bool


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that are ranked against each other: any one of them can go, from everywhere at once.

    Attributes:
        name: Its first producing weight.
        roots: One id for each channel, shape (n_channels,).
        places: Where the channels stand, the first producing weight first.
        frozen: Why none can go; None if they can.
        evidence: What criteria look at.
    """

    name: str
    roots: Ids
    places: tuple[Place, ...]
    frozen: str | None
    evidence: Evidence = field(repr=False, compare=False)

    @property
    def n_channels(self) -> int:
        """How many channels there are to choose from."""
        return len(self.roots)

    @property
    def span(self) -> int:
        """How many indices of the first producing weight one channel takes."""
        return int(self.places[0].indices.shape[1])

    @property
    def width(self) -> int:
        """Indices of the first producing weight that the whole group takes."""
        return self.n_channels * self.span

    @property
    def producers(self) -> tuple[str, ...]:
        """Names of the modules that make the channels."""
        return tuple(dict.fromkeys(module_name(place.tensor) for place in self.places if place.produces))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all modules that hold a piece of the channels."""
        return tuple(dict.fromkeys(module_name(place.tensor) for place in self.places))


def module_name(tensor: str) -> str:
    """Return the name of the module that owns a tensor."""
    return tensor.rpartition(".")[0]


def channel_groups(trace: Trace, evidence: Evidence) -> list[ChannelGroup]:
    """Sort the channels of a trace into groups, frozen ones included, in the order of the forward pass.

    Args:
        trace: Of the model.
        evidence: Of the same model.

    Returns:
        Groups that some weight produces.
    """
    gathered: dict[tuple[object, ...], list[int]] = defaultdict(list)
    standing = _standing(trace)
    for root, places in standing.items():
        signature = tuple((tensor, dim, len(indices)) for (tensor, dim), indices in places.items())
        gathered[(*signature, trace.classes.reason(root))].append(root)
    groups = [_group(trace, roots, standing, evidence) for roots in gathered.values()]
    order = {tensor: position for position, (tensor, _) in enumerate(trace.producers)}
    made = [group for group in groups if group.producers]
    return sorted(made, key=lambda group: (order[group.places[0].tensor], int(group.places[0].indices.min())))


def _standing(trace: Trace) -> dict[int, dict[tuple[str, int], list[int]]]:
    """Return for each class where its indices are."""
    standing: dict[int, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, labels in trace.state.items():
        for dim, ids in labels.axes.items():
            for index, root in enumerate(trace.classes.roots(ids).tolist()):
                standing[root][name, dim].append(index)
    return standing


def _group(
    trace: Trace, roots: list[int], standing: dict[int, dict[tuple[str, int], list[int]]], evidence: Evidence
) -> ChannelGroup:
    spots = list(standing[roots[0]])
    made = [spot for spot in trace.producers if spot in standing[roots[0]]]
    spots = [*made, *(spot for spot in spots if spot not in made)]
    roots = sorted(roots, key=lambda root: standing[root][spots[0]][0])
    places = tuple(
        Place(
            tensor, dim, trace.state[tensor].shape[dim],
            np.array([standing[root][tensor, dim] for root in roots], dtype=np.int64), (tensor, dim) in trace.producers,
        )
        for tensor, dim in spots
    )  # fmt: skip
    return ChannelGroup(
        places[0].tensor, np.array(roots, dtype=np.int64), places, trace.classes.reason(roots[0]), evidence
    )
