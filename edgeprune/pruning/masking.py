"""The masked dense network: the whole graph, with removed channels set to zero wherever an op sums over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from edgeprune.pruning.capture import Captured
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import op_name
from edgeprune.pruning.rules import RULES, Rule
from edgeprune.pruning.steps import Call, Steps
from edgeprune.pruning.trace import Trace


class MaskedNetwork:
    """Runs a captured model as if the removed channels were not there, without removing them.

    Args:
        captured: The model's graph.
        trace: Its labels.
        gone: For each channel id whether it is removed.
    """

    def __init__(self, captured: Captured, trace: Trace, gone: NDArray[np.bool_]) -> None:
        self._captured, self._trace, self._gone = captured, trace, gone
        self._norms: dict[str, None] = {}
        self._steps = Steps(captured.program.graph_module, self._call_of)

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
        sources: list[Callable[[], Any]] = []
        for spec in program.graph_signature.input_specs:
            name = spec.arg.name
            if name in self._captured.state:
                sources.append(partial(state.__getitem__, self._captured.state[name]))
            else:
                value = next(given) if spec.kind is InputKind.USER_INPUT else program.constants[spec.target or ""]
                sources.append(partial(_same, value))
        with torch.no_grad():
            found = self._steps.run_from(sources)
        return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]

    def masked_norms(self) -> tuple[str, ...]:
        """Return the norms and other statistics that lost channels, by the name of their node."""
        return tuple(self._norms)

    def _call_of(self, node: Node) -> Call:
        rule, call = RULES.get(op_name(node)), cast(Call, node.target)
        if rule is None or not (rule.masks or rule.reference) or not self._loses(node.args):
            return call
        return partial(self._masked_call, node.name, rule, call, _Keeps(node.args, self._keep))

    def _loses(self, argument: Any) -> bool:
        """Return whether some channels of an argument are removed."""
        if isinstance(argument, (list, tuple)):
            return any(self._loses(each) for each in argument)
        labels = self._trace.labels.get(argument) if isinstance(argument, Node) else None
        return isinstance(labels, Labels) and any(self._gone[ids].any() for ids in labels.axes.values())

    def _masked_call(self, name: str, rule: Rule, call: Call, keep: Sequence[Any], *given: Any, **keywords: Any) -> Any:
        arguments = list(given)
        if rule.reference is not None:
            found = rule.reference(call, arguments, keywords, keep)
            if found is not None:
                self._norms[name] = None
                return found
        if rule.skipping is not None:
            found = rule.skipping(call, arguments, keywords, keep)
            if found is not None:
                return found
        for choice in rule.masks:
            position = _smallest(arguments, choice)
            if position < len(arguments):
                arguments[position] = _masked(arguments[position], keep[position])
        return call(*arguments, **keywords)

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


def _same(value: Any) -> Any:
    return value


class _Keeps(Sequence[Any]):
    """The keep masks of a node's arguments, each made when it is first asked for: few are."""

    def __init__(self, arguments: Sequence[Any], keep: Callable[[Any], Any]) -> None:
        self._arguments, self._keep = arguments, keep
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._arguments)

    def __getitem__(self, position: Any) -> Any:
        if position not in self._made:
            self._made[position] = self._keep(self._arguments[position])
        return self._made[position]


def _masked(value: Any, keep: Any) -> Any:
    """Return a tensor, or a list of them, with what is not kept set to zero."""
    if isinstance(keep, list):
        return [_masked(each, mask) for each, mask in zip(value, keep, strict=True)]
    return value if keep is None else torch.where(keep, value, 0)


def _smallest(arguments: Sequence[Any], choice: int | tuple[int, ...]) -> int:
    """Return the position of the smallest of some tensors."""
    return choice if isinstance(choice, int) else min(choice, key=lambda position: arguments[position].numel())
