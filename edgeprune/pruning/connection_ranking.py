"""Which channels a layer reads matter to it: the L1 mass that each brings in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgeprune.errors import DataError, ModelError
from edgeprune.pruning.capture import FORWARD_ERRORS, first_line, run
from edgeprune.pruning.criteria import Scores
from edgeprune.pruning.groups import ChannelGroup, Place, module_name
from edgeprune.values.batch import batches

Flags: TypeAlias = NDArray[np.bool_]

MASS_BATCHES = 8
"""Calibration batches over which the activations are averaged."""

FLOOR_RATIO = 0.1
"""Share of its connections that every reading layer keeps under a global ranking."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that reads the channels of a group: one connection for each channel.

    Attributes:
        group: Name of the group that is read.
        place: Where the channels stand in the reading layer's weight.
        shares: Of the L1 mass that the layer receives, what each channel brings; shape (n_channels,).
    """

    group: str
    place: Place
    shares: Scores


def find_readers(model: nn.Module, groups: Sequence[ChannelGroup], batches_: Iterable[Any]) -> list[Reader]:
    """Measure every connection.

    The mass of the connection from channel c into layer v is the mean of |x_c| times the sum of |w| over the weights of
    v that read c; its share is that of the whole mass that v receives.

    Args:
        model: In eval mode; left as it is.
        groups: Of this model; frozen ones are passed over.
        batches_: Inputs to run it on.

    Returns:
        One for each group and each convolution or linear layer that reads it.

    Raises:
        ModelError: The masses hold NaN or infinity.
    """
    found = [(g, p) for g in groups if g.frozen is None for p in g.places if _reads(g.evidence.owner(p.tensor), p)]
    modules = {module_name(place.tensor): group.evidence.owner(place.tensor) for group, place in found}
    activity = _activity(model, modules, batches_)
    readers = []
    for group, place in found:
        name = module_name(place.tensor)
        mass = _mass(modules[name], activity[name])
        total = mass.sum()
        if not math.isfinite(total):
            raise ModelError(f"What {name!r} reads holds NaN or infinity.", "Check the weights and the data.")
        readers.append(Reader(group.name, place, mass[place.indices].sum(axis=1) / (total or 1.0)))
    return readers


def _reads(module: nn.Module, place: Place) -> bool:
    if not place.tensor.endswith("weight") or place.produces:
        return False
    if isinstance(module, _ConvTransposeNd):
        return place.dim == 0
    return isinstance(module, (_ConvNd, nn.Linear)) and place.dim == 1


def _activity(model: nn.Module, modules: dict[str, nn.Module], inputs: Iterable[Any]) -> dict[str, Tensor]:
    # For each module the sum of |x| over each of its input channels.
    totals: dict[str, Tensor] = {}
    names = {module: name for name, module in modules.items()}

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0].detach().double().abs()
        channel = x.dim() - 1 - max(0, module.get_parameter("weight").dim() - 2)
        summed = x.sum([dim for dim in range(x.dim()) if dim != channel])
        totals[names[module]] = totals.get(names[module], torch.zeros_like(summed)) + summed

    handles = [module.register_forward_pre_hook(look) for module in modules.values()]
    try:
        for batch in inputs:
            run(model, batch)
    except FORWARD_ERRORS as error:
        raise DataError(f"The model does not run on a batch: {first_line(error)}", "Check the loader.") from error
    finally:
        for handle in handles:
            handle.remove()
    return totals


def _mass(module: nn.Module, activity: Tensor) -> Scores:
    """Return the mass that comes in over each index of the weight's input dimension."""
    weight = module.get_parameter("weight").detach().double().abs()
    if isinstance(module, _ConvTransposeNd):
        return (weight.flatten(1).sum(1) * activity).numpy()
    blocks = module.groups if isinstance(module, _ConvNd) else 1
    by_input = weight.reshape(blocks, weight.shape[0] // blocks, weight.shape[1], -1).sum((1, 3))
    return (by_input * activity.reshape(blocks, -1)).sum(0).numpy()


def inputs_for(calibration: Iterable[Any] | None, example_inputs: Sequence[Any]) -> list[Any]:
    """Return the inputs of some calibration batches, or the example inputs where there are none."""
    if calibration is None:
        return [tuple(example_inputs)]
    return [inputs for inputs, _ in batches(calibration, MASS_BATCHES)]


def weakest(readers: Sequence[Reader], count: int, scope: str) -> list[Flags]:
    """Choose the connections to cut.

    Args:
        readers: All of them.
        count: How many connections to cut.
        scope: "global" ranks all together, "local" cuts the same share from each layer.

    Returns:
        For each reader a vector of booleans, True for a connection that goes; at least one stays.
    """
    sizes = [len(reader.shares) for reader in readers]
    cut = [np.zeros(size, dtype=np.bool_) for size in sizes]
    total = sum(sizes)
    limits = [size - max(1, math.ceil(FLOOR_RATIO * size)) for size in sizes]
    if scope == "local":
        limits = [min(size - 1, math.floor(size * count / max(1, total) + 0.5)) for size in sizes]
        count = sum(limits)
    owner = np.concatenate([np.full(size, index) for index, size in enumerate(sizes)])
    channel = np.concatenate([np.arange(size) for size in sizes])
    for position in np.argsort(np.concatenate([reader.shares for reader in readers]), kind="stable"):
        index = int(owner[position])
        if count > 0 and limits[index] > 0:
            cut[index][channel[position]] = True
            limits[index] -= 1
            count -= 1
    return cut
