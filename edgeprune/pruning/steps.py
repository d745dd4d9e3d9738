"""A captured graph made ready to run several times: what can be known beforehand is looked up once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from edgeprune.pruning.nodes import wrapped_call

Call: TypeAlias = Callable[..., Any]
"""Computes a node's value from its arguments and keywords."""


class _Step(NamedTuple):
    """One call of a graph.

    Attributes:
        node: Whose value it computes.
        call: Computes it.
        given: The node's arguments; those that are nodes are replaced before each call.
        single: Positions among them that are nodes, with these.
        nested: Positions among them that hold nodes within lists, with these lists.
        keywords: The node's keywords.
        last: Nodes whose values no later step uses.
    """

    node: Node
    call: Call
    given: Sequence[Any]
    single: Sequence[tuple[int, Node]]
    nested: Sequence[tuple[int, Any]]
    keywords: Mapping[str, Any]
    last: Sequence[Node]

    def run(self, values: dict[Node, Any]) -> Any:
        arguments = list(self.given)
        for position, node in self.single:
            arguments[position] = values[node]
        for position, nodes in self.nested:
            arguments[position] = map_arg(nodes, values.__getitem__)
        if self.keywords:
            return self.call(*arguments, **map_arg(dict(self.keywords), values.__getitem__))
        return self.call(*arguments)


class _Values(dict[Node, Any]):
    """The values of nodes, of which some are made whenever they are used."""

    def __init__(self, sources: Iterable[tuple[Node, Callable[[], Any]]]) -> None:
        super().__init__()
        self._sources = dict(sources)

    def __missing__(self, node: Node) -> Any:
        return self._sources[node]()


class Steps:
    """Runs a graph, each node by a call of choice. An interpreter of torch.fx does the same in more time.

    Args:
        module: Holds the graph; a graph within it is run in the same way.
        call_of: Node of an ordinary op to what computes its value.
    """

    def __init__(self, module: GraphModule, call_of: Callable[[Node], Call]) -> None:
        nodes = list(module.graph.nodes)
        last = _last_uses(nodes)
        self._inputs = [node for node in nodes if node.op == "placeholder"]
        self._held = {node: _attribute(module, str(node.target)) for node in nodes if node.op == "get_attr"}
        self._output = next(node for node in nodes if node.op == "output").args[0]
        self._steps = [_step(node, call_of, last.get(node, ())) for node in nodes if node.op == "call_function"]

    def run(self, *inputs: Any) -> Any:
        """Compute the outputs.

        Args:
            *inputs: One for each placeholder.

        Returns:
            What the graph's output node holds.
        """
        return self._run(dict(zip(self._inputs, inputs, strict=True)))

    def run_from(self, inputs: Sequence[Callable[[], Any]]) -> Any:
        """Compute the outputs.

        Args:
            inputs: For each placeholder what gives its value, called whenever the value is used.

        Returns:
            What the graph's output node holds.
        """
        return self._run(_Values(zip(self._inputs, inputs, strict=True)))

    def _run(self, values: dict[Node, Any]) -> Any:
        values.update(self._held)
        for step in self._steps:
            values[step.node] = step.run(values)
            for node in step.last:
                del values[node]
        return map_arg(self._output, values.__getitem__)


def _step(node: Node, call_of: Callable[[Node], Call], last: Sequence[Node]) -> _Step:
    wrapped = wrapped_call(node)
    given: Sequence[Any] = node.args
    if wrapped is None:
        call = call_of(node)
    else:
        inner, given = wrapped
        call = Steps(inner, call_of).run
    single, nested = [], []
    for position, value in enumerate(given):
        if isinstance(value, Node):
            single.append((position, value))
        elif isinstance(value, (list, tuple)):
            nested.append((position, value))
    keywords = {} if wrapped else node.kwargs
    return _Step(node, call, given, single, nested, keywords, last)


def _last_uses(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """Return for each node the values that are not used after it; inputs and outputs stay."""
    last: dict[Node, list[Node]] = {}
    seen: set[Node] = set()
    for node in reversed(nodes):
        fresh = [side for side in node.all_input_nodes if side not in seen]
        seen.update(fresh)
        if node.op == "call_function":
            last[node] = [side for side in fresh if side.op == "call_function"]
            if node not in seen:
                last[node].append(node)
    return last


def _attribute(module: GraphModule, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found
