"""ATen graph -> channel labels of every tensor in it, by one walk with a rule for each op."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from edgeprune.pruning.capture import Captured, modules_of
from edgeprune.pruning.heads import attended
from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import op_name, shape_of, unlabelled, wrapped_call
from edgeprune.pruning.rules import RULES
from edgeprune.pruning.trace import Trace


def walk(model: nn.Module, captured: Captured, heads: str = "width") -> Trace:
    """Label every tensor of a captured model.

    Args:
        model: What was captured.
        captured: Its graph.
        heads: What may go from attention: "width" or "whole" heads.

    Returns:
        The trace.
    """
    trace = Trace(heads, attended(captured.program.graph) if heads == "whole" else frozenset())
    owners = modules_of(model)
    for node in captured.program.graph.nodes:
        trace.enter(node)
        if node.op == "placeholder":
            name = captured.state.get(node.name)
            trace.labels[node] = _placeholder(trace, node, name, owners)
        elif node.op == "output":
            _freeze_outputs(trace, node)
        else:
            trace.labels[node] = _call(trace, node)
    return trace


def _placeholder(trace: Trace, node: Node, name: str | None, owners: Mapping[str, nn.Module]) -> Labels:
    if name is None or not node.users:
        return Labels(shape_of(node))
    trace.sources[node] = name
    if name not in trace.state:
        shape = shape_of(node)
        owner = name.rpartition(".")[0]
        module = owners.get(owner)
        trace.state[name] = _beside_weight(trace, owner, shape, module) or _fresh(trace, shape, module)
        if isinstance(module, nn.MultiheadAttention):
            # It checks its one width against all of its sides; only a graph written again can cut them apart.
            trace.enter(f"nn.MultiheadAttention {owner!r}")
            trace.bake(trace.state[name], "belongs to")
    return trace.state[name]


def _fresh(trace: Trace, shape: tuple[int, ...], module: nn.Module | None) -> Labels:
    counted = 2 if isinstance(module, _ConvNd) else len(shape)  # a kernel has no channels along its sides
    return Labels(shape, {dim: trace.classes.fresh(length) for dim, length in enumerate(shape[:counted]) if length > 1})


def _beside_weight(trace: Trace, owner: str, shape: tuple[int, ...], module: nn.Module | None) -> Labels | None:
    """Return the labels of a bias, or of a norm's statistics: those of the weight beside it, which it never leaves."""
    beside = trace.state.get(f"{owner}.weight" if owner else "weight")
    if beside is None or not isinstance(module, _WITH_VECTORS) or shape != beside.shape[:1]:
        return None
    return Labels(shape, {dim: ids for dim, ids in beside.axes.items() if dim == 0})


_WITH_VECTORS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, _NormBase, nn.LayerNorm, nn.GroupNorm)
"""Modules whose vectors all run along dimension 0 of their weight."""


def _freeze_outputs(trace: Trace, node: Node) -> None:
    trace.enter("a model output")
    for value in tree_leaves(_labelled(trace, node.args)):
        if isinstance(value, Labels):
            trace.freeze(value, "reaches")


def _labelled(trace: Trace, arguments: Any) -> Any:
    return map_arg(arguments, lambda node: trace.labels.get(node))


def _call(trace: Trace, node: Node) -> Any:
    wrapped = wrapped_call(node)
    if wrapped is not None:
        return _walk_inside(trace, *wrapped)
    rule = RULES.get(op_name(node))
    arguments = _labelled(trace, node.args)
    keywords = _labelled(trace, node.kwargs) if node.kwargs else {}
    if rule is not None:
        return rule.trace(trace, node, *arguments, **keywords)
    touched = [value for value in tree_leaves((arguments, keywords)) if isinstance(value, Labels) and value.axes]
    if touched:
        trace.unknown[trace.here] = None
    for value in touched:
        trace.freeze(value, "passes through an op without a rule:")
    return unlabelled(node)


def _walk_inside(trace: Trace, inner: GraphModule, arguments: list[Any]) -> Any:
    # A graph within the graph gives the labels of its outputs.
    given = iter(arguments)
    found: Any = None
    for node in inner.graph.nodes:
        trace.enter(node)
        if node.op == "placeholder":
            outer = next(given)
            trace.labels[node] = trace.labels.get(outer)
            if outer in trace.sources:
                trace.sources[node] = trace.sources[outer]
        elif node.op == "output":
            found = _labelled(trace, node.args[0])
        else:
            trace.labels[node] = _call(trace, node)
    return found
