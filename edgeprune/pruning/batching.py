"""Which numbers of a captured graph stand for the batch: those that change when the batch does.

A graph holds the length of the example batch as a number wherever the model's code read it from a shape. Capturing
the model once more with a longer batch tells these numbers from the others.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.utils._pytree import tree_map_only

from edgeprune.errors import PruneError
from edgeprune.pruning.capture import FORWARD_ERRORS, Captured, capture, run
from edgeprune.pruning.cost import batch_size
from edgeprune.pruning.nodes import op_name, shape_of

_RESHAPES = ("view", "reshape", "_unsafe_view")


@dataclass(frozen=True, slots=True)
class Batching:
    """The numbers of a graph that follow its batch.

    Attributes:
        batch: Length of the example batch.
        longer: Length of the other batch.
        twins: Node of the graph to the same node of the graph with the longer batch; empty if the batch is fixed.
    """

    batch: int = 1
    longer: int = 1
    twins: Mapping[Node, Node] = field(default_factory=dict)

    def source(self, graph: Graph) -> _Source:
        """Return what gives the length of the batch inside `graph`."""
        return _Source(graph, next((n for n in graph.nodes if n.op == "placeholder" and self._batched(n)), None))

    def _batched(self, node: Node) -> bool:
        shape = shape_of(node)
        return bool(shape) and shape[0] == self.batch

    def spread(self, captured: Node, written: Node, batch: _Source) -> None:
        """Let the numbers among a node's arguments follow the batch.

        Args:
            captured: The node as it was captured.
            written: The same node where it is written again.
            batch: Gives the batch.
        """
        longer = self.twins.get(captured)
        if longer is None or written.target != captured.target:
            return
        arguments = [
            self._spread(first, second, now, written, batch)
            for first, second, now in zip(captured.args, longer.args, written.args, strict=False)
        ]
        written.args = (*arguments, *written.args[len(arguments) :])

    def _spread(self, first: Any, second: Any, now: Any, node: Node, batch: _Source) -> Any:
        if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and isinstance(now, (list, tuple)):
            if not len(first) == len(second) == len(now):
                return now
            places = [place for place, pair in enumerate(zip(first, second, strict=True)) if self._follows(*pair)]
            found = list(now)
            if len(places) == 1 and op_name(node) in _RESHAPES and -1 not in found:
                found[places[0]] = -1
                return found
            for place in places:
                found[place] = batch.times(found[place] // self.batch, node)
            return found
        return batch.times(now // self.batch, node) if self._follows(first, second) else now

    def _follows(self, first: Any, second: Any) -> bool:
        whole = type(first) is int and type(second) is int
        return whole and first != second and first * self.longer == second * self.batch


class _Source:
    """Makes nodes for multiples of the batch."""

    def __init__(self, graph: Graph, batched: Node | None) -> None:
        self._graph, self._batched = graph, batched
        self._length: Node | None = None

    def times(self, count: int, before: Node) -> Any:
        """Return a node for `count` times the batch, for use in the node `before`."""
        if self._batched is None:
            return count
        if self._length is None:
            last = [node for node in self._graph.nodes if node.op == "placeholder"][-1]
            with self._graph.inserting_after(last):
                self._length = self._graph.call_function(torch.ops.aten.sym_size.int, (self._batched, 0))
        if count == 1:
            return self._length
        with self._graph.inserting_before(before):
            return self._graph.call_function(operator.mul, (self._length, count))


def find_batching(model: nn.Module, captured: Captured, inputs: Sequence[Any]) -> Batching:
    """Capture a model with a longer batch, and compare.

    Args:
        model: What was captured.
        captured: Its graph.
        inputs: With which it was captured.

    Returns:
        What follows the batch; nothing if the model has its batch fixed, or runs other ops for another batch.
    """
    batch = batch_size(inputs)

    def longer(value: Tensor) -> Tensor:
        return torch.cat([value, value[:1]]) if value.dim() and len(value) == batch else value

    more = tree_map_only(Tensor, longer, tuple(inputs))
    try:
        run(model, more)
        other = capture(model, more)
    except (*FORWARD_ERRORS, PruneError):
        return Batching()
    pairs = list(zip(captured.program.graph.nodes, other.program.graph.nodes, strict=False))
    same = len(captured.program.graph.nodes) == len(other.program.graph.nodes)
    if not same or any(first.target != second.target for first, second in pairs if first.op == "call_function"):
        return Batching()
    return Batching(batch, batch + 1, dict(pairs))
