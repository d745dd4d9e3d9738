"""The masked dense network: the whole graph, with removed channels set to zero wherever an op sums over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from edgeprune.pruning.capture import Captured
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import op_name, wrapped_call
from edgeprune.pruning.rules import RULES
from edgeprune.pruning.trace import Trace


class MaskedNetwork:
    """Runs a captured model as if the removed channels were not there, without removing them.

    Args:
        captured: The model's graph.
        trace: Its labels.
        gone: For each channel id whether it is removed.
    """

    def __init__(self, captured: Captured, trace: Trace, gone: NDArray[np.bool_]) -> None:
        self._captured = captured
        self._interpreter = _Masking(captured.program.graph_module, trace, gone)

    def run(self, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
        """Compute the outputs.

        Args:
            state: Parameters and buffers of the dense model by name.
            inputs: The model's inputs; not modified.

        Returns:
            Output tensors, in order.
        """
        program = self._captured.program
        given = iter(tree_leaves(deepcopy(tuple(inputs))))
        arguments = []
        for spec in program.graph_signature.input_specs:
            name = spec.arg.name
            if name in self._captured.state:
                arguments.append(state[self._captured.state[name]])
            elif spec.kind is InputKind.USER_INPUT:
                arguments.append(next(given))
            else:
                arguments.append(program.constants[spec.target or ""])
        with torch.no_grad():
            found = self._interpreter.run(*arguments, enable_io_processing=False)
        return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]

    def masked_norms(self) -> tuple[str, ...]:
        """Return the norms and other statistics that lost channels, by the name of their node."""
        return tuple(self._interpreter.masked_norms)


class _Masking(Interpreter):
    def __init__(self, module: torch.fx.GraphModule, trace: Trace, gone: NDArray[np.bool_]) -> None:
        super().__init__(module)
        self._trace, self._gone = trace, gone
        self._kept: dict[Node, list[Any]] = {}
        self.masked_norms: dict[str, None] = {}

    def run_node(self, node: Node) -> Any:
        if node.op != "call_function":
            return super().run_node(node)
        wrapped = wrapped_call(node)
        if wrapped is not None:
            return self._run_inside(*wrapped)
        rule = RULES.get(op_name(node))
        if rule is None or not (rule.masks or rule.reference):
            return super().run_node(node)
        given, keywords = self.fetch_args_kwargs_from_env(node)
        arguments = list(given)
        keep = self._keeps(node)
        if rule.reference is not None:
            found = rule.reference(node.target, arguments, keywords, keep)
            if found is not None:
                self.masked_norms[node.name] = None
                return found
        for choice in rule.masks:
            position = _smallest(arguments, choice)
            if position < len(arguments):
                arguments[position] = _masked(arguments[position], keep[position])
        return node.target(*arguments, **keywords)  # type: ignore[operator]

    def _run_inside(self, inner: torch.fx.GraphModule, arguments: list[Any]) -> Any:
        masking = _Masking(inner, self._trace, self._gone)
        found = masking.run(*map_arg(arguments, lambda node: self.env[node]), enable_io_processing=False)
        self.masked_norms.update(masking.masked_norms)
        return found

    def _keeps(self, node: Node) -> list[Any]:
        if node not in self._kept:
            self._kept[node] = [self._keep(argument) for argument in node.args]
        return self._kept[node]

    def _keep(self, argument: Any) -> Any:
        """Return a mask that broadcasts over an argument, True where it is kept; None if all of it is."""
        if isinstance(argument, (list, tuple)):
            return [self._keep(each) for each in argument]
        labels = self._trace.labels.get(argument) if isinstance(argument, Node) else None
        if not isinstance(labels, Labels):
            return None
        mask: Tensor | None = None
        for dim, ids in labels.axes.items():
            kept = ~self._gone[ids]
            if not kept.all():
                along = torch.from_numpy(kept).reshape([-1 if d == dim else 1 for d in range(len(labels.shape))])
                mask = along if mask is None else mask & along
        return mask


def _masked(value: Any, keep: Any) -> Any:
    """Return a tensor, or a list of them, with what is not kept set to zero."""
    if isinstance(keep, list):
        return [_masked(each, mask) for each, mask in zip(value, keep, strict=True)]
    return value if keep is None else torch.where(keep, value, 0)


def _smallest(arguments: Sequence[Any], choice: int | tuple[int, ...]) -> int:
    """Return the position of the smallest of some tensors."""
    return choice if isinstance(choice, int) else min(choice, key=lambda position: arguments[position].numel())
