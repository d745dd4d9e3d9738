"""Weights that share few values: k-means per tensor, bits by a loss budget, then the values are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.pruning.bit_allocation import BitAllocation
from edgeprune.pruning.capture import copied, tensors
from edgeprune.pruning.clustering import Clusters
from edgeprune.pruning.evidence import checked_loss, cross_entropy, logits_of
from edgeprune.pruning.folding import folded
from edgeprune.pruning.recovery import finetune
from edgeprune.pruning.shared_network import SharedNetwork
from edgeprune.pruning.weight_ranking import weight_names
from edgeprune.values.batch import batches
from edgeprune.values.event import Listener, ignore
from edgeprune.values.packing import SharedTensor, SharingReport, SharingSpec


@dataclass(frozen=True, slots=True)
class Sharing:
    """A model whose weights share few values.

    Attributes:
        model: In eval mode, batch norms folded into the convolutions before them; its zeros are those that were given.
        report: Bits and values of each tensor, and what it did to the loss.
    """

    model: nn.Module
    report: SharingReport


def share(
    model: nn.Module,
    spec: SharingSpec,
    *,
    example_inputs: tuple[Any, ...],
    train: Iterable[Any],
    teacher: nn.Module | None = None,
    listener: Listener = ignore,
) -> Sharing:
    """Let the weights of each tensor share few values, and train these.

    Tensors with two dimensions or more are shared; biases and norms stay as they are. Zeros stay zero.

    Args:
        model: Gives logits, shape (N, classes, ...); left as it is.
        spec: Loss budget and training.
        example_inputs: Positional arguments of its forward.
        train: Loader of (inputs, class indices), which can be read more than once; its first batches calibrate.
        teacher: Whose outputs the training follows; None for the model as it was given.
        listener: Hears of each epoch.

    Returns:
        The shared model, in eval mode.

    Raises:
        ModelError: There is nothing to share.

    Source:
        Han et al. 2016, "Deep Compression", section 3, arXiv:1510.00149.
    """
    train = list(train) if isinstance(train, Iterator) else train
    held = list(batches(train, spec.calibration_batches))
    network = folded(copied(model).eval(), example_inputs)
    weights = _nonzero(network)

    def loss(clusters: Mapping[str, Clusters]) -> float:
        return _mean_loss(SharedNetwork(network, clusters), held)

    before = loss({})
    allocation = BitAllocation(weights, loss, spec.max_bits)
    clusters = allocation.within(before + spec.loss_budget)
    shared = loss(clusters)
    trained = SharedNetwork(deepcopy(network), clusters)
    finetune(trained, teacher or model, train, replace(spec.training, refit_batches=0), listener)
    after = _mean_loss(trained.eval(), held)
    rows = tuple(_row(network, name, allocation.bits[name], found) for name, found in clusters.items())
    return Sharing(trained.write_back().eval(), SharingReport(rows, before, shared, after))


def _nonzero(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    held = tensors(model)
    flat = {name: held[name].detach().flatten() for name in weight_names(model)}
    found = {name: weight[weight != 0].float().numpy() for name, weight in flat.items()}
    found = {name: weights for name, weights in found.items() if len(weights)}
    if not found:
        raise ModelError("The model has no weights that could share values.", "Give one with linear layers.")
    broken = [name for name, weights in found.items() if not np.isfinite(weights).all()]
    if broken:
        raise ModelError(f"{broken[0]!r} holds NaN or infinity.", "Check the weights.")
    return found


def _mean_loss(model: nn.Module, held: list[Any]) -> float:
    with torch.no_grad():
        losses = [float(checked_loss(cross_entropy(logits_of(model, inputs), targets))) for inputs, targets in held]
    return sum(losses) / len(losses)


def _row(model: nn.Module, name: str, bits: int, found: Clusters) -> SharedTensor:
    count = tensors(model)[name].numel()
    return SharedTensor(name, count, len(found.codes), bits, len(found.centroids), found.entropy_bits)
