"""The labels of a graph, and the vocabulary in which rules say how an op passes them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.fx import Node

from edgeprune.pruning.classes import Classes, Ids
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import module_of, place_of, shape_of

_COMPUTED_WEIGHT_OPS = 24
"""A weight that is computed anew in each pass is computed by no more ops than this; an activation by more."""


@dataclass(slots=True)
class Trace:
    """What one walk over a graph finds out.

    Attributes:
        heads: What goes from attention: "width" or "whole" heads.
        attended: Nodes that go into attention, if whole heads are to go.
        sources: Placeholder to the name of the parameter or buffer behind it.
        classes: The channels.
        labels: Node to the labels of its value.
        state: Name of a parameter or buffer to its labels.
        producers: Weights and the dimension in which they make channels, in the order of the forward pass.
        positions: Weight to the number of places in which each of its elements is multiplied, over one pass.
        followers: Module to the ids along the dimension that one of its attributes counts.
        doubts: Places that may count channels by a number in the user's Python code, and the channels that they count.
        baked: Places whose module cannot follow fewer channels, with the reason as the key, and these channels.
        unknown: Ops without a rule that channels met, with their lines; in order, as keys.
        at: The node being walked, or what to call the place instead.
    """

    heads: str = "width"
    attended: frozenset[Node] = frozenset()
    sources: dict[Node, str] = field(default_factory=dict)
    classes: Classes = field(default_factory=Classes)
    labels: dict[Node, Any] = field(default_factory=dict)
    state: dict[str, Labels] = field(default_factory=dict)
    producers: dict[tuple[str, int], None] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    followers: dict[str, Ids] = field(default_factory=dict)
    doubts: dict[str, Ids] = field(default_factory=dict)
    baked: dict[str, Ids] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    at: Node | str = ""

    @property
    def here(self) -> str:
        """The op being walked and its line, for reasons."""
        return self.at if isinstance(self.at, str) else place_of(self.at)

    def enter(self, place: Node | str) -> None:
        """Begin with a node, or another place: later reasons name it."""
        self.at = place

    def union(self, left: Ids, right: Ids) -> None:
        """Let ids at equal positions go together or not at all; what meets 0 stays."""
        self.classes.union(left, right, lambda: f"meets channels that stay, in {self.here}")

    def freeze(self, value: Labels | Ids, why: str) -> None:
        """Keep ids, or all ids of a tensor, whole.

        Args:
            value: Ids or labels.
            why: What the op does to them, for the report.
        """
        for ids in value.axes.values() if isinstance(value, Labels) else [value]:
            self.classes.freeze(ids, lambda: f"{why} {self.here}")

    def freeze_axes(self, value: Labels, dims: Sequence[int], why: str) -> Labels:
        """Keep the ids along some dimensions.

        Args:
            value: Labels.
            dims: Dimensions, also counted from the end.
            why: What the op does to them, for the report.

        Returns:
            The labels without those dimensions.
        """
        places = {dim % len(value.shape) for dim in dims}
        frozen = [ids for dim, ids in value.axes.items() if dim in places]
        for ids in frozen:
            self.freeze(ids, why)
        return value.without(*places) if frozen else value

    def doubt(self, ids: Ids) -> None:
        """Note that the op may stand for a fixed number of the channels `ids`, however many there are left."""
        self.doubts[self.here] = np.concatenate([self.doubts.get(self.here, ids[:0]), ids])

    def bake(self, value: Labels | Ids, why: str) -> None:
        """Note that the user's module cannot run right with fewer of some channels; a graph written again can.

        Args:
            value: Ids or labels.
            why: What holds them, for the report.
        """
        reason = f"{why} {self.here}"
        for ids in value.axes.values() if isinstance(value, Labels) else [value]:
            self.baked[reason] = np.concatenate([self.baked.get(reason, ids[:0]), ids])

    def tie(self, grid: Ids) -> Ids:
        """Let the rows of a grid lose the same columns.

        Args:
            grid: Ids, shape (rows, columns).

        Returns:
            The ids of the first row, shape (columns,).
        """
        self.union(grid, grid[:1])
        first: Ids = grid[0]
        return first

    def unify(self, operands: Sequence[Labels], shape: tuple[int, ...]) -> Labels:
        """Combine broadcast operands element by element.

        Args:
            operands: Labels of the operands.
            shape: Of the result.

        Returns:
            Its labels.
        """
        axes: dict[int, Ids] = {}
        free = set()
        for dim, length in enumerate(shape):
            found = _bound(operands, dim - len(shape))
            for ids in found[1:]:
                self.union(found[0], ids)
            if found and found[0].any():
                axes[dim] = found[0]
            elif not found and length > 1:
                free.add(dim)
        return Labels(shape, axes, frozenset(free))

    def contract(self, left: Labels, left_dim: int, right: Labels, right_dim: int) -> tuple[Labels, Labels]:
        """Sum the product of two tensors over one dimension of each.

        Args:
            left: One operand.
            left_dim: Its dimension.
            right: The other operand.
            right_dim: Its dimension.

        Returns:
            Both operands' labels without the dimension summed over.
        """
        self.union(left.ids(left_dim), right.ids(right_dim))
        return left.without(left_dim), right.without(right_dim)

    def produces(self, node: object, dim: int, positions: int = 0) -> None:
        """Note that a weight's dimension makes channels.

        Args:
            node: The weight's node; passed over unless it is a parameter, or computed from one of the same shape.
            dim: Its out dimension.
            positions: Places in which each element of the weight is multiplied.
        """
        name = self._weight_behind(node) if isinstance(node, Node) else None
        if name is not None:
            self.producers[name, dim] = None
            self.positions[name] = self.positions.get(name, 0) + positions

    def _weight_behind(self, node: Node) -> str | None:
        shape, seen, ahead = shape_of(node), {node}, [node]
        found: str | None = None
        while ahead and len(seen) <= _COMPUTED_WEIGHT_OPS:
            each = ahead.pop(0)
            if each in self.sources:
                found = found or (self.sources[each] if shape_of(each) == shape else None)
            elif each.op == "placeholder":
                return None  # it depends on the input
            fresh = [side for side in each.all_input_nodes if side not in seen]
            seen.update(fresh)
            ahead += fresh
        return None if ahead else found

    def follow(self, node: Node, ids: Ids) -> None:
        """Note that the module which called `node` counts the channels `ids` in one of its attributes."""
        module = module_of(node)
        if module is not None:
            self.followers[module] = ids

    def gone(self, removed: Ids) -> NDArray[np.bool_]:
        """Return for each id whether its class is removed.

        Args:
            removed: Roots of the classes to remove.

        Returns:
            Shape (number of ids,).
        """
        flags = np.zeros(len(self.classes), dtype=np.bool_)
        flags[removed] = True
        return flags[self.classes.roots(np.arange(len(self.classes)))]


def _bound(operands: Sequence[Labels], back: int) -> list[Ids]:
    """Return the ids of those operands that do not just repeat one value along a dimension counted from the end.

    Operands without channels there come first: the others meet them, and stay.
    """
    there = [operand for operand in operands if len(operand.shape) >= -back]
    found = [operand.ids(back) for operand in there if not operand.is_free(len(operand.shape) + back)]
    return sorted(found, key=lambda ids: bool(ids.any()))
