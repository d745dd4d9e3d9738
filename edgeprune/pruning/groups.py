"""Labels -> channel groups: the channels that stand in the same dimensions of the same tensors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

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
        name: Its first producing weight; "#2" and so on where this weight makes the channels of several groups.
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
    spots = _alike(trace)
    kinds, members = _kinds(trace, spots)
    order = {spot: position for position, spot in enumerate(trace.producers)}
    found = [
        _group(
            trace, sorted(pieces, key=lambda piece: order.get((piece[0].tensor, piece[0].dim), len(order))), evidence
        )
        for pieces in _pieces(spots, kinds, members)
    ]
    made = [group for group in found if group.places[0].produces]
    return _named_apart(sorted(made, key=lambda group: (order[_lead(group)], int(group.places[0].indices.min()))))


def _named_apart(groups: list[ChannelGroup]) -> list[ChannelGroup]:
    """Return groups without two of the same name: one weight may make the channels of several."""
    seen: Counter[str] = Counter()
    apart = []
    for group in groups:
        seen[group.name] += 1
        count = seen[group.name]
        apart.append(group if count == 1 else replace(group, name=f"{group.name}#{count}"))
    return apart


class _Spot(NamedTuple):
    """One dimension of one tensor, and the class of each of its indices."""

    tensor: str
    dim: int
    size: int
    roots: Ids
    produces: bool


_Piece = tuple[_Spot, Ids]
"""A spot and the indices there that belong to one group, ascending."""


def _kinds(trace: Trace, spots: list[list[_Spot]]) -> tuple[Ids, int]:
    # Refine one partition of all classes spot by spot: in the end, two classes have the same kind if they stand
    # equally often in the same spots and are frozen for the same reason.
    kinds = np.zeros(len(trace.classes), dtype=np.int64)
    count = 1
    for alike in spots:
        roots, times = _counted(alike[0].roots)
        pairs = kinds[roots] * (alike[0].size + 1) + times
        if (pairs == pairs[0]).all():
            kinds[roots], count = count, count + 1
            continue
        found, renamed = np.unique(pairs, return_inverse=True)
        kinds[roots] = count + renamed
        count += len(found)
    roots = np.flatnonzero(kinds)
    reasons = trace.classes.reason_numbers(roots)
    pairs, renamed = np.unique(kinds[roots] * (1 + reasons.max(initial=0)) + reasons, return_inverse=True)
    kinds[roots] = renamed
    return kinds, len(pairs)


def _counted(roots: Ids) -> tuple[Ids, Ids | int]:
    """Return the roots that occur, and how often each does."""
    if (roots[1:] > roots[:-1]).all():
        return roots, 1
    return np.unique(roots, return_counts=True)


def _pieces(spots: list[list[_Spot]], kinds: Ids, count: int) -> list[list[_Piece]]:
    """Return for each kind where its indices are."""
    pieces: list[list[_Piece]] = [[] for _ in range(count)]
    for alike in spots:
        own = kinds[alike[0].roots]
        if (own == own[0]).all():
            every = np.arange(len(own))
            pieces[own[0]] += [(spot, every) for spot in alike]
            continue
        order = np.argsort(own, kind="stable")
        present, starts = np.unique(own[order], return_index=True)
        for kind, indices in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            pieces[kind] += [(spot, indices) for spot in alike]
    return pieces


def _alike(trace: Trace) -> list[list[_Spot]]:
    """Return the spots by equal classes, as those of a layer and of the batch norm behind it are."""
    roots_of: dict[int, Ids] = {}  # a layer's vectors share their ids
    found: dict[bytes, list[_Spot]] = {}
    for name, labels in trace.state.items():
        for dim, ids in labels.axes.items():
            if id(ids) not in roots_of:
                roots_of[id(ids)] = trace.classes.roots(ids)
            roots = roots_of[id(ids)]
            spot = _Spot(name, dim, len(ids), roots, (name, dim) in trace.producers)
            found.setdefault(roots.tobytes(), []).append(spot)
    return list(found.values())


def _group(trace: Trace, pieces: list[_Piece], evidence: Evidence) -> ChannelGroup:
    lead, first = pieces[0]
    at = lead.roots[first]
    found, places = np.unique(at, return_index=True)
    roots = at if len(found) == len(at) else found[np.argsort(places)]
    rows: dict[int, Ids] = {}  # alike spots share one vector of indices
    where = []
    for spot, indices in pieces:
        if id(indices) not in rows:
            rows[id(indices)] = _by_channel(spot.roots[indices], indices, roots)
        where.append(Place(spot.tensor, spot.dim, spot.size, rows[id(indices)], spot.produces))
    return ChannelGroup(lead.tensor, roots, tuple(where), trace.classes.reason(int(roots[0])), evidence)


def _by_channel(roots: Ids, indices: Ids, channels: Ids) -> Ids:
    """Return the indices as one row for each channel."""
    if len(roots) == len(channels) and (roots == channels).all():
        return indices[:, None]
    sorter = np.argsort(channels)
    rank = sorter[np.searchsorted(channels, roots, sorter=sorter)]
    return indices[np.argsort(rank, kind="stable")].reshape(len(channels), -1)


def _lead(group: ChannelGroup) -> tuple[str, int]:
    return group.places[0].tensor, group.places[0].dim
