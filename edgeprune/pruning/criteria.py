"""Importance of channels: ChannelGroup -> scores, larger means keep.

A criterion is a callable that takes a group and returns one score for each of its channels, shape (n_channels,),
float64. To add one, write it and put its name into `CRITERIA`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    },
)


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
    saliency = group.evidence.saliency()
    scores = np.zeros(group.n_channels)
    for place in group.places:
        if place.tensor in saliency:
            scores += _per_channel(saliency[place.tensor], place)
    return scores


def _over_producers(group: ChannelGroup, measure: Callable[[Tensor], Tensor]) -> Scores:
    scores = np.zeros(group.n_channels)
    for place in group.places:
        if place.produces:
            scores += _per_channel(measure(group.evidence.tensors[place.tensor]), place)
    return scores


def _per_channel(values: Tensor, place: Place) -> Scores:
    # Sum a tensor over everything but one dimension, and there over the indices of each channel.
    others = [dim for dim in range(values.dim()) if dim != place.dim]
    along: Scores = (values.sum(others, dtype=torch.float64) if others else values.double()).numpy()
    scores: Scores = along[place.indices].sum(axis=1)
    return scores
