"""A captured graph and the channels that go -> the graph as a module of its own, with its numbers following.

Where a model's Python code holds a width as a number, its own class cannot run with fewer channels. The exported graph
can: each size, bound and count in it is computed again from the labels of what the op gives. Parameters and buffers
keep the user's names. Batch norm and dropout become torch's modules, so that `train()` and `eval()` mean what they
did; stochastic depth, and dropout inside fused attention, are not in a graph that was captured in eval mode.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import CodeGen
from torch.utils._pytree import tree_unflatten

from edgeprune.pruning.batching import Batching
from edgeprune.pruning.capture import Captured, copied, tensors
from edgeprune.pruning.followers import FOLLOWERS, Following
from edgeprune.pruning.nodes import op_name
from edgeprune.pruning.stateful import with_modules
from edgeprune.pruning.surgery import cut, following_attributes, kept_indices, set_attributes
from edgeprune.pruning.trace import Trace
from edgeprune.values.recipe import GroupCut, PruneRecipe


def rewritten(
    model: nn.Module, captured: Captured, trace: Trace, cuts: tuple[GroupCut, ...], batching: Batching
) -> nn.Module:
    """Write a model's graph again with some channels removed.

    Args:
        model: What was captured, in eval mode; left as it is.
        captured: Its graph.
        trace: Its labels.
        cuts: What goes.
        batching: Which numbers of the graph follow the batch.

    Returns:
        A module with the sliced tensors of the model, under their names.
    """
    graph = _as_module(captured.program)
    recipe = PruneRecipe(cuts)
    following = Following(trace, _gone(trace, recipe), batching)
    _follow(captured.program.graph_module, graph, following)
    with_modules(graph, model)
    module = GraphModule(graph, graph.graph, type(model).__name__)
    _take_over(module, model)
    cut(module, recipe)
    set_attributes(module, replace(recipe, attributes=following_attributes(module, {})))
    for node in module.graph.nodes:
        node.meta = {}
    module.graph.lint()
    module.recompile()
    return module.eval()


def _gone(trace: Trace, recipe: PruneRecipe) -> NDArray[np.bool_]:
    """Return for each channel id whether its class is removed, from the indices that a recipe removes."""
    removed = [
        np.delete(trace.state[name].ids(dim), kept)
        for (name, dim), kept in kept_indices(recipe).items()
        if name in trace.state
    ]
    return trace.gone(trace.classes.roots(np.concatenate([np.zeros(0, dtype=np.int64), *removed])))


def _as_module(program: ExportedProgram) -> GraphModule:
    # Guards would hold the sizes of the example inputs.
    asks = "check_guards" in inspect.signature(program.module).parameters
    module: Any = program.module(check_guards=False) if asks else program.module()
    for node in module.graph.nodes:
        if node.op == "call_module" and not node.users and node.target == "_guards_fn":
            module.graph.erase_node(node)
    _plain(module.graph, program)
    return cast(GraphModule, module)


def _plain(graph: Graph, program: ExportedProgram) -> None:
    """Take and give what the model does without torch's description of the structure, which does not copy."""
    given, found = program.call_spec.in_spec, program.call_spec.out_spec
    if given is None or found is None:
        return
    positional = given.child(0)
    if all(positional.child(n).is_leaf() for n in range(positional.num_children)):
        (output,) = [node for node in graph.nodes if node.op == "output"]
        values: Any = output.args[0]
        output.args = (tree_unflatten(list(values), found),)
        graph.set_codegen(CodeGen())


def _follow(captured: GraphModule, written: GraphModule, following: Following) -> None:
    """Let the numbers of every op follow; a graph within the graph has its own nodes."""
    twins = {node.name: node for node in captured.graph.nodes}
    batch = following.batching.source(written.graph)
    for node in list(written.graph.nodes):
        twin = twins.get(node.name)
        if node.op == "get_attr" and isinstance(inner := _attribute(written, node), GraphModule):
            inner = copied(inner)  # the capture, which the proof runs, holds the same one
            written.set_submodule(str(node.target), inner)
            _follow(_attribute(captured, node), cast(GraphModule, inner), following.inside())
        if node.op != "call_function" or twin is None:
            continue
        follower = FOLLOWERS.get(op_name(twin))
        if follower is not None:
            follower(following, twin, node)
        following.batching.spread(twin, node, batch)


def _attribute(owner: GraphModule, node: Node) -> Any:
    found: Any = owner
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _take_over(module: nn.Module, model: nn.Module) -> None:
    """Hold every tensor of the model, used or not, with its wish for a gradient."""
    held = tensors(module)
    wanted: Mapping[str, Any] = tensors(model)
    for name, tensor in wanted.items():
        if name not in held:
            _place(module, name, tensor)
    for name, parameter in module.named_parameters():
        if name in wanted:
            parameter.requires_grad_(wanted[name].requires_grad)


def _place(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner: nn.Module = module
    *path, last = name.split(".")
    for part in path:
        if not hasattr(owner, part):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(last, nn.Parameter(tensor.detach().clone(), tensor.requires_grad))
    else:
        owner.register_buffer(last, tensor.detach().clone())
