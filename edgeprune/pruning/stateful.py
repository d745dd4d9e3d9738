"""Ops of a captured graph that differ between training and evaluation -> torch's modules for them."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from edgeprune.pruning.nodes import op_name

_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_DROPOUTS = {
    "dropout": nn.Dropout,
    "feature_dropout": nn.Dropout2d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
}


def with_modules(graph: GraphModule, model: nn.Module) -> None:
    """Let batch norm and dropout follow `train()` and `eval()`.

    Args:
        graph: Captured in eval mode; changed.
        model: What was captured.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function":
            continue
        if op_name(node) == "batch_norm":
            _normalise(graph, node, model)
        elif op_name(node) in _DROPOUTS:
            rate = node.args[1]
            _replace(graph, node, f"{node.name}_in_training", _DROPOUTS[op_name(node)](rate))


def _normalise(graph: GraphModule, node: Node, model: nn.Module) -> None:
    mean: Any = node.args[3]
    name = str(mean.target).rpartition(".")[0] if isinstance(mean, Node) and mean.op == "get_attr" else ""
    original = dict(model.named_modules()).get(name)
    # Weights that do not come as they are, and a norm that keeps no statistics, stay an op.
    own = isinstance(original, nn.modules.batchnorm._BatchNorm) and _from_one_module(node, name)
    if own and isinstance(original, nn.modules.batchnorm._BatchNorm):
        kind = _NORMS[len(node.meta["val"].shape)]
        norm = kind(original.num_features, original.eps, original.momentum, original.affine)
        norm.load_state_dict(nn.Module.state_dict(original), strict=False)
        _replace(graph, node, name, norm)


def _from_one_module(node: Node, name: str) -> bool:
    held = [side for side in node.args[1:5] if side is not None]
    return all(isinstance(side, Node) and str(side.target).rpartition(".")[0] == name for side in held)


def _replace(graph: GraphModule, node: Node, name: str, module: nn.Module) -> None:
    graph.add_submodule(name, module)
    with graph.graph.inserting_before(node):
        call = graph.graph.call_module(name, (node.args[0],))
    node.replace_all_uses_with(call)
    used = [side for side in node.all_input_nodes if side is not node.args[0]]
    graph.graph.erase_node(node)
    for side in used:
        if side.op == "get_attr" and not side.users:
            graph.graph.erase_node(side)
