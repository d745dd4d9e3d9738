"""How the numbers of each op follow the channels: one function for each op whose arguments count them.

A follower takes the node as it was captured, which has labels, and the node of the graph that is written again, and
sets the latter's numbers to what is left. An op that counts nothing needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node

from edgeprune.pruning.batching import Batching
from edgeprune.pruning.classes import Ids
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of
from edgeprune.pruning.trace import Trace


@dataclass(frozen=True, slots=True)
class Following:
    """What is left of every tensor.

    Attributes:
        trace: Of the model.
        gone: For each channel id whether it is removed.
        batching: Which numbers follow the batch.
    """

    trace: Trace
    gone: NDArray[np.bool_]
    batching: Batching

    def inside(self) -> Following:
        """Return the same for a graph within the graph, which holds its batch."""
        return Following(self.trace, self.gone, Batching())

    def left(self, ids: Ids) -> int:
        """Return how many of some indices are left."""
        return int((~self.gone[ids]).sum())

    def labels(self, node: Any) -> Labels:
        """Return the labels of one tensor."""
        found: Labels = self.trace.labels[node]
        return found

    def lengths(self, labels: Labels) -> list[int]:
        """Return the shape that is left of a tensor."""
        return [self.left(labels.ids(dim)) if dim in labels.axes else size for dim, size in enumerate(labels.shape)]


Follower = Callable[[Following, Node, Node], None]


def _set(node: Node, position: int, value: Any) -> None:
    node.args = (*node.args[:position], value, *node.args[position + 1 :])


def _sizes(following: Following, captured: Node, written: Node) -> None:
    # view, reshape, expand: their sizes are the result's; a size that torch was asked to find stays open.
    asked: Any = captured.args[1] if len(captured.args) > 1 else None
    if isinstance(asked, (list, tuple)):
        found = following.lengths(following.labels(captured))
        _set(written, 1, [old if old == -1 else new for old, new in zip(asked, found, strict=True)])


def _unflatten(following: Following, captured: Node, written: Node) -> None:
    dim: Any = captured.args[1]
    sizes: Any = captured.args[2]
    rank = len(shape_of(captured)) - len(sizes) + 1
    found = following.lengths(following.labels(captured))[dim % rank :][: len(sizes)]
    _set(written, 2, [old if old == -1 else new for old, new in zip(sizes, found, strict=True)])


def _parts(following: Following, captured: Node, written: Node) -> None:
    # split, chunk: into what is left of each part.
    parts: Any = following.trace.labels[captured]
    dim: Any = captured.args[2] if len(captured.args) > 2 else captured.kwargs.get("dim", 0)
    if any(dim % len(part.shape) in part.axes for part in parts):
        written.target = torch.ops.aten.split_with_sizes.default
        written.args = (written.args[0], [following.lengths(part)[dim] for part in parts], dim)
        written.kwargs = {}


def _bounds(following: Following, captured: Node, written: Node) -> None:
    # slice: a bound stands for as many indices as are left before it.
    given: Sequence[Any] = captured.args[1:4]
    defaults: Sequence[Any] = (0, None, None)
    dim, start, end = (*given, *defaults[len(given) :])
    x = following.labels(captured.args[0])
    if dim % len(x.shape) in x.axes:
        ids = x.ids(dim)
        first, last, _ = slice(start, end).indices(len(ids))
        begin = following.left(ids[:first])
        written.args = (written.args[0], dim, begin, begin + following.left(ids[first:last]), *written.args[4:])


def _narrow(following: Following, captured: Node, written: Node) -> None:
    given: Sequence[Any] = captured.args[1:4]
    dim, start, length = given
    x = following.labels(captured.args[0])
    if dim % len(x.shape) in x.axes:
        ids = x.ids(dim)
        written.args = (
            written.args[0], dim, following.left(ids[:start]), following.left(ids[start : start + length]),
        )  # fmt: skip


def _padding(following: Following, captured: Node, written: Node) -> None:
    widths: Any = captured.args[1]
    labels = following.labels(captured)
    found = list(widths)
    for pair in range(len(widths) // 2):
        dim = len(labels.shape) - 1 - pair
        if dim in labels.axes and (widths[2 * pair] or widths[2 * pair + 1]):
            ids = labels.ids(dim)
            before, after = widths[2 * pair], len(ids) - widths[2 * pair + 1]
            found[2 * pair : 2 * pair + 2] = following.left(ids[:before]), following.left(ids[after:])
    _set(written, 1, found)


def _scale(following: Following, captured: Node, written: Node) -> None:
    # The dense network's scale: a channel that is gone is one that added nothing.
    width = following.labels(captured.args[0]).shape[-1]
    if captured.kwargs.get("scale") is None:
        written.kwargs = {**written.kwargs, "scale": float(width) ** -0.5}


def _groups(position: int) -> Follower:
    def follow(following: Following, captured: Node, written: Node) -> None:
        # Depthwise: as many groups as channels arrive; of other groups, each loses as many.
        if len(captured.args) <= position:
            return
        x, weight = (following.labels(side) for side in captured.args[:2])
        axis = len(x.shape) - len(weight.shape) + 1
        if captured.args[position] == x.shape[axis] and axis in x.axes:
            _set(written, position, following.left(x.ids(axis)))

    return follow


def _normalised(following: Following, captured: Node, written: Node) -> None:
    lengths: Any = captured.args[1]
    _set(written, 1, following.lengths(following.labels(captured.args[0]))[-len(lengths) :])


_TABLE: Sequence[tuple[Follower, tuple[str, ...]]] = (
    (_sizes, ("view", "reshape", "_unsafe_view", "expand", "view_copy", "_reshape_copy", "broadcast_to")),
    (_unflatten, ("unflatten",)),
    (_parts, ("split", "split_with_sizes", "chunk", "tensor_split")),
    (_bounds, ("slice",)),
    (_narrow, ("narrow",)),
    (_padding, ("pad", "constant_pad_nd")),
    (_scale, ("scaled_dot_product_attention",)),
    (_groups(6), ("conv1d", "conv2d", "conv3d")),
    (_groups(7), ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")),
    (_groups(8), ("convolution",)),
    (_normalised, ("layer_norm", "rms_norm")),
)

FOLLOWERS = {name: follower for follower, names in _TABLE for name in names}
"""ATen name to how its numbers follow."""
