"""Facts that are read off a node of the ATen graph."""

from __future__ import annotations

import operator
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_map_only

from edgeprune.pruning.labels import Labels

_FRAME = re.compile(r'File "(.+)", line (\d+), in')
_TORCH = str(Path(torch.__file__).parent)


def is_torch(file: str) -> bool:
    """Return whether a source file is torch's own."""
    return file.startswith(_TORCH)


def op_name(node: Node) -> str:
    """Return the name by which rules know a node's op: in-place forms count as their plain form."""
    return _name_of(node.target)


@cache
def _name_of(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    if isinstance(target, OpOverload):
        namespace, _, name = target._schema.name.partition("::")
        return (name.rstrip("_") or name) if namespace == "aten" else f"{namespace}::{name}"
    return str(getattr(target, "__name__", target))


def writes(node: Node) -> bool:
    """Return whether a node's op changes one of its arguments."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def wrapped_call(node: Node) -> tuple[GraphModule, list[Any]] | None:
    """Return the graph that a node runs as a whole, with its arguments; None if it is an ordinary op.

    torch.export puts what runs under `torch.no_grad()`, or with autocast turned off, into a graph of its own.
    """
    if isinstance(node.target, OpOverload):
        return None
    place = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}.get(op_name(node))
    if place is None or (place == 4 and node.args[2] is not False):
        return None
    inner = node.args[place]
    owner = node.graph.owning_module
    if owner is None or not isinstance(inner, Node):
        return None
    return owner.get_submodule(str(inner.target)), list(node.args[place + 1 :])  # type: ignore[return-value]


def shape_of(node: Node) -> tuple[int, ...]:
    """Return the shape of a node's value; () if it is no tensor."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def unlabelled(node: Node) -> Any:
    """Return labels without channels for whatever a node gives: one tensor or several."""
    return tree_map_only(Tensor, lambda value: Labels(tuple(value.shape)), node.meta.get("val"))


def source_of(node: Node) -> str:
    """Return "file:line" of the user's code that a node came from; "" if only torch's own code was involved."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line in frames if not is_torch(file)]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""


def place_of(node: Node) -> str:
    """Return a node's op and its line in the user's code, or else its module: "view (model.py:31)"."""
    module = module_of(node)
    source = source_of(node) or (f"module {module!r}" if module else "")
    return f"{op_name(node)} ({source})" if source else op_name(node)


def module_of(node: Node) -> str | None:
    """Return the name of the innermost module that a node was called from; None if torch did not record it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else None
