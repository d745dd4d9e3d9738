"""Importance of channels: ChannelGroup -> scores, larger means keep.

A criterion is a callable that takes a group and returns one score for each of its channels, shape (n_channels,),
float64. To add one, write it and put its name into `CRITERIA`; where it cannot rank a group, it raises `NotApplicable`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.errors import PruneError
from edgeprune.pruning.groups import ChannelGroup, Place
from edgeprune.registry import Registry

Scores: TypeAlias = NDArray[np.float64]
Criterion: TypeAlias = Callable[[ChannelGroup], Scores]

CRITERIA = Registry(
    "criterion",
    {
        "l1": "edgeprune.pruning.criteria:l1",
        "l2": "edgeprune.pruning.criteria:l2",
        "taylor": "edgeprune.pruning.criteria:taylor",
        "hessian": "edgeprune.pruning.criteria:hessian",
        "bn_scale": "edgeprune.pruning.criteria:bn_scale",
        "fpgm": "edgeprune.pruning.criteria:fpgm",
        "lamp": "edgeprune.pruning.criteria:lamp",
        "random": "edgeprune.pruning.criteria:random",
    },
)


_BLOCK = 1 << 16
"""Elements of a weight that are measured at a time: as many as stay in the processor's cache."""


class NotApplicable(PruneError):
    """A criterion cannot rank a group; the group keeps its width, and the report says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "Take another criterion, such as 'l1'.")


def l1(group: ChannelGroup) -> Scores:
    """Score a channel by the L1 norm of the weights that produce it.

    Args:
        group: Channels.

    Returns:
        Sums of |w| over all producing weights, shape (n_channels,), >= 0.

    Source:
        Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1, arXiv:1608.08710.
    """
    return _over_producers(group, lambda weight: weight.abs())


def l2(group: ChannelGroup) -> Scores:
    """Score a channel by the L2 norm of the weights that produce it.

    Args:
        group: Channels.

    Returns:
        Norms over all producing weights together, shape (n_channels,), >= 0.
    """
    return np.sqrt(_over_producers(group, lambda weight: weight.square()))


def taylor(group: ChannelGroup) -> Scores:
    """Score a channel by the loss that its removal would add, to first order.

    Args:
        group: Channels, with calibration data behind their evidence.

    Returns:
        Sums of |w · dL/dw| over every parameter slice that goes with the channel and over the calibration batches,
        shape (n_channels,), >= 0.

    Source:
        Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", equation 8 (its absolute value, not
        its square), arXiv:1906.10771.
    """
    return _over_places(group, group.evidence.saliency())


def hessian(group: ChannelGroup) -> Scores:
    """Score a channel by the loss that its removal would add, to second order.

    Args:
        group: Channels, with calibration data behind their evidence.

    Returns:
        Sums of ½ · w² · h over every parameter slice that goes with the channel, shape (n_channels,), >= 0. For h, the
        diagonal of the Hessian, stands that of the empirical Fisher matrix: the mean square of the gradients of
        single examples.

    Source:
        LeCun et al. 1990, "Optimal Brain Damage", equation 5, for the saliency; Theis et al. 2018, "Faster gaze
        prediction with dense networks and Fisher pruning", section 2.1, arXiv:1801.05787, for the Fisher diagonal.
    """
    return _over_places(group, group.evidence.curvature())


def bn_scale(group: ChannelGroup) -> Scores:
    """Score a channel by the scales that batch norms give it.

    Args:
        group: Channels.

    Returns:
        Sums of |γ| over the batch norms that the channel passes, shape (n_channels,), >= 0.

    Raises:
        NotApplicable: The channels pass no batch norm with a scale.

    Source:
        Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", section 3,
        arXiv:1708.06519.
    """
    scales = [place for place in group.places if _is_scale(group, place)]
    if not scales:
        raise NotApplicable("has no batch norm whose scale could rank it")
    scores = np.zeros(group.n_channels)
    for place in scales:
        scores += per_channel(group.evidence.tensors[place.tensor].abs(), place)
    return scores


def fpgm(group: ChannelGroup) -> Scores:
    """Score a channel by how far its weights are from those of the others: what lies in their middle is redundant.

    Args:
        group: Channels.

    Returns:
        Sums of the Euclidean distances to all channels of the group, over the producing weights together, shape
        (n_channels,), >= 0.

    Source:
        He et al. 2019, "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", equation 4,
        arXiv:1811.00250.
    """
    rows = [_rows(group.evidence.tensors[place.tensor], place) for place in group.places if place.produces]
    filters = torch.cat(rows, dim=1).double()
    distances = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
    scores: Scores = distances.numpy()
    return scores


def lamp(group: ChannelGroup) -> Scores:
    """Score a channel by its share in the squared weights of the channels that are no smaller.

    The scores of all groups are on one scale as they stand, and a global ranking takes them so.

    Args:
        group: Channels.

    Returns:
        m / (sum of m over the channels whose m is at least as large), with m the sum of the squared producing weights;
        shape (n_channels,), in [0, 1]; 1 for the largest.

    Source:
        Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning", equation 1, arXiv:2010.07611;
        there for single weights, here for channels.
    """
    return layer_adaptive(_over_producers(group, lambda weight: weight.square()))


def layer_adaptive(squares: Scores) -> Scores:
    """Return each value divided by the sum of itself and of those ranked after it; 0 where the value is 0.

    Args:
        squares: >= 0, shape (n,).

    Returns:
        In [0, 1], shape (n,).
    """
    order = np.argsort(squares, kind="stable")
    ascending = squares[order]
    rest = np.cumsum(ascending[::-1])[::-1]
    scores = np.zeros_like(squares)
    scores[order] = np.divide(ascending, rest, out=np.zeros_like(ascending), where=rest > 0)
    return scores


def random(group: ChannelGroup) -> Scores:
    """Score channels at random: what a criterion has to beat.

    Args:
        group: Channels.

    Returns:
        Uniform in [0, 1), shape (n_channels,); the same for the same seed and the same name of the group.
    """
    generator = np.random.default_rng([group.evidence.seed, zlib.crc32(group.name.encode())])
    return generator.random(group.n_channels)


def _is_scale(group: ChannelGroup, place: Place) -> bool:
    return place.tensor.endswith("weight") and isinstance(group.evidence.owner(place.tensor), _BatchNorm)


def _over_places(group: ChannelGroup, values: Mapping[str, Tensor]) -> Scores:
    scores = np.zeros(group.n_channels)
    for place in group.places:
        if place.tensor in values:
            scores += per_channel(values[place.tensor], place)
    return scores


def _rows(weight: Tensor, place: Place) -> Tensor:
    """Return the part of a weight that belongs to each channel, flattened; shape (n_channels, entries)."""
    indices = torch.from_numpy(place.indices.ravel())
    return weight.index_select(place.dim, indices).movedim(place.dim, 0).reshape(len(place.indices), -1)


def _over_producers(group: ChannelGroup, measure: Callable[[Tensor], Tensor]) -> Scores:
    scores = np.zeros(group.n_channels)
    for place in group.places:
        if place.produces:
            scores += _measured(group.evidence.tensors[place.tensor], place, measure)
    return scores


def _measured(weight: Tensor, place: Place, measure: Callable[[Tensor], Tensor]) -> Scores:
    if place.dim or weight.dim() < 2 or weight.numel() <= _BLOCK:
        return per_channel(measure(weight), place)
    rows = max(1, _BLOCK * len(weight) // weight.numel())
    along = torch.cat([measure(part).flatten(1).sum(1) for part in torch.split(weight, rows)])
    return per_channel(along, place)


def per_channel(values: Tensor, place: Place) -> Scores:
    """Sum a tensor over everything but one dimension, and there over the indices of each channel.

    Args:
        values: Of the shape of the place's tensor.
        place: Where the channels stand.

    Returns:
        Shape (n_channels,).
    """
    others = [dim for dim in range(values.dim()) if dim != place.dim]
    along: Scores = (values.sum(others) if others else values).double().numpy()
    scores: Scores = along[place.indices].sum(axis=1) if place.indices.shape[1] > 1 else along[place.indices[:, 0]]
    return scores
