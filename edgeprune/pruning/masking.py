"""The masked dense network: the whole graph, with removed channels set to zero wherever an op sums over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from edgeprune.pruning.capture import Captured, copied_inputs
from edgeprune.pruning.classes import Ids
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
        self._captured, self._trace, self._kept = captured, trace, _Kept(gone)
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
        given = iter(tree_leaves(copied_inputs(inputs)))
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
        if rule is None or not (rule.masks or rule.reference):
            return call
        labels = [self._labels(argument) for argument in node.args]
        if not any(self._loses(each) for each in labels):
            return call
        keeps = Keeps(labels, self._kept)
        return partial(self._masked_call, node.name, rule, call, keeps)

    def _labels(self, argument: Any) -> Any:
        """Return the labels of an argument, of each one within a list; None for what is no tensor."""
        if isinstance(argument, (list, tuple)):
            return [self._labels(each) for each in argument]
        labels = self._trace.labels.get(argument) if isinstance(argument, Node) else None
        return labels if isinstance(labels, Labels) else None

    def _loses(self, labels: Any) -> bool:
        """Return whether some channels of an argument are removed."""
        if isinstance(labels, list):
            return any(self._loses(each) for each in labels)
        return labels is not None and any(self._kept.mask(ids) is not None for ids in labels.axes.values())

    def _masked_call(self, name: str, rule: Rule, call: Call, keep: Keeps, *given: Any, **keywords: Any) -> Any:
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


def _same(value: Any) -> Any:
    return value


class _Kept:
    """Which channels are kept; most tensors share their vectors of ids with others, and each is looked up once.

    Args:
        gone: For each channel id whether it is removed.
    """

    def __init__(self, gone: NDArray[np.bool_]) -> None:
        self._gone = gone
        self._found: dict[int, tuple[Ids, Tensor | None]] = {}
        self._indices: dict[int, Tensor] = {}

    def losing(self, labels: Labels) -> list[int]:
        """Return the dimensions of a tensor that lose some of their indices."""
        return [dim for dim, ids in labels.axes.items() if self.mask(ids) is not None]

    def mask(self, ids: Ids) -> Tensor | None:
        """Return for each id whether it is kept; None if all are."""
        found = self._found.get(id(ids))
        if found is None:
            kept = ~self._gone[ids]
            found = self._found[id(ids)] = ids, None if kept.all() else torch.from_numpy(kept)
        return found[1]  # kept with the ids, so that no other vector gets their address

    def indices(self, ids: Ids) -> Tensor | None:
        """Return which of the ids are kept, ascending; None if all or none are."""
        mask = self.mask(ids)
        if mask is None:
            return None
        if id(ids) not in self._indices:
            self._indices[id(ids)] = mask.nonzero().ravel()
        found = self._indices[id(ids)]
        return found if len(found) else None


class Keeps(Sequence[Any]):
    """What is kept of each of a node's arguments: a mask that broadcasts over it, or None if all of it is.

    Each is made when it is first asked for: few are.

    Args:
        labels: Of the arguments; lists of them for arguments that are lists, None for those that are no tensors.
        kept: Which channels are kept.
    """

    def __init__(self, labels: Sequence[Any], kept: _Kept) -> None:
        self._labels, self._kept = labels, kept
        self._made: dict[int, Any] = {}
        self._along: dict[tuple[int, int], Tensor | None] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, position: Any) -> Any:
        if position not in self._made:
            self._made[position] = self._mask(self._labels[position])
        return self._made[position]

    def along(self, position: int, axis: int) -> Tensor | None:
        """Return which indices of an argument are kept along its only dimension that loses some.

        Args:
            position: Of the argument.
            axis: The dimension.

        Returns:
            Ascending indices; None if other dimensions lose some, this one none or all.
        """
        key = position, axis
        if key not in self._along:
            labels = self._labels[position]
            alone = isinstance(labels, Labels) and self._kept.losing(labels) == [axis]
            self._along[key] = self._kept.indices(labels.axes[axis]) if alone else None
        return self._along[key]

    def _mask(self, labels: Any) -> Any:
        if isinstance(labels, list):
            return [self._mask(each) for each in labels]
        found: Tensor | None = None
        for dim, ids in labels.axes.items() if labels is not None else ():
            mask = self._kept.mask(ids)
            if mask is not None:
                along = mask.reshape([-1 if d == dim else 1 for d in range(len(labels.shape))])
                found = along if found is None else found & along
        return found


def _masked(value: Any, keep: Any) -> Any:
    """Return a tensor, or a list of them, with what is not kept set to zero."""
    if isinstance(keep, list):
        return [_masked(each, mask) for each, mask in zip(value, keep, strict=True)]
    return value if keep is None else torch.where(keep, value, 0)


def _smallest(arguments: Sequence[Any], choice: int | tuple[int, ...]) -> int:
    """Return the position of the smallest of some tensors."""
    return choice if isinstance(choice, int) else min(choice, key=lambda position: arguments[position].numel())
