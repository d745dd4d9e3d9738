"""Which modules of a network can be bypassed so that all shapes stay: the candidates of the method "layer"."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from edgeprune.pruning.capture import Captured, run
from edgeprune.pruning.exclusion import ancestors
from edgeprune.pruning.nodes import op_name
from edgeprune.values.recipe import Removal

_HOMOGENEOUS = frozenset({"dropout", "mul", "clone", "contiguous"})
"""Ops that may stand between a branch and the sum that it goes into: of zeros they make zeros."""


@dataclass(frozen=True, slots=True)
class Units:
    """The layers and blocks of a network.

    Attributes:
        candidates: Those that can be bypassed, and how; no one lies within another.
        kept: Module name to the reason why it stays, for layers with weights that are in no candidate.
    """

    candidates: tuple[Removal, ...]
    kept: Mapping[str, str]


def find_units(model: nn.Module, captured: Captured, inputs: Sequence[Any], exclude: Sequence[str]) -> Units:
    """Find what can be bypassed.

    A module can be if in every call it takes one tensor and gives one of the same shape, and if something else than it
    computes the outputs of the model: a classifier stays. Blocks go as a whole: within a candidate there is no other
    one, unless it only strings together several blocks or layers.

    Args:
        model: In eval mode; left as it is.
        captured: Its graph.
        inputs: Example inputs.
        exclude: Patterns of module names that stay.

    Returns:
        Candidates in the order of the modules, and the rest.
    """
    misfits = _misfits(model, inputs)
    heads = _heads(model, captured)
    misfits |= {name: "computes a model output" for name in misfits if _is_head(name, heads) and not misfits[name]}
    added = _only_added(captured)
    found = [unit for _, child in _children(model, "") for unit in _units(child, misfits, added)]
    candidates = [Removal(m.name, "zero" if m.name in added else "identity") for m in found]
    excluded = {c.module: p for c in candidates if (p := _pattern(c.module, exclude)) is not None}
    kept = {name: f"excluded by {pattern!r}" for name, pattern in excluded.items()}
    inside = tuple(f"{candidate.module}." for candidate in candidates)
    for name, module in model.named_modules():
        if _is_weight_layer(module) and not f"{name}.".startswith(inside):
            kept[name] = misfits.get(name, "is never run")
    return Units(tuple(c for c in candidates if c.module not in excluded), kept)


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    module: nn.Module


def _children(module: nn.Module, name: str) -> Iterator[tuple[str, _Named]]:
    for child_name, child in module.named_children():
        yield child_name, _Named(f"{name}.{child_name}" if name else child_name, child)


def _units(named: _Named, misfits: Mapping[str, str], added: frozenset[str]) -> list[_Named]:
    within = [unit for _, child in _children(named.module, named.name) for unit in _units(child, misfits, added)]
    if misfits.get(named.name, "is never run"):
        return within
    if named.name in added:
        return [named] if _has_weights(named.module) else within
    if not any(named.module.children()):
        return [named] if _is_weight_layer(named.module) else []
    blocks = [unit for unit in within if any(unit.module.children())]
    strung = len(blocks) > 1 or (type(named.module) is nn.Sequential and len(within) > 1)
    return within if strung or not _has_weights(named.module) else [named]


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _is_weight_layer(module: nn.Module) -> bool:
    return not any(module.children()) and _has_weights(module)


def _pattern(name: str, exclude: Sequence[str]) -> str | None:
    return next((p for p in exclude if any(fnmatchcase(owner, p) for owner in ancestors(name))), None)


def _misfits(model: nn.Module, inputs: Sequence[Any]) -> dict[str, str]:
    """Return for each module that is run why it cannot be bypassed; "" if it can."""
    reasons: dict[str, str] = {}

    def look(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        reasons[name] = reasons.get(name) or _misfit(args, kwargs, output)

    handles = [
        module.register_forward_hook(
            lambda _, args, kwargs, out, name=name: look(name, args, kwargs, out), with_kwargs=True
        )
        for name, module in model.named_modules()
        if name
    ]
    try:
        run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return reasons


def _misfit(args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> str:
    if len(args) != 1 or kwargs or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
        return "does not take one tensor and give one"
    if args[0].shape != output.shape:
        return f"makes {tuple(output.shape)} of {tuple(args[0].shape)}"
    return "" if args[0].dtype == output.dtype else f"makes {output.dtype} of {args[0].dtype}"


def _heads(model: nn.Module, captured: Captured) -> list[frozenset[str]]:
    """Return for each model output the layers with weights that are the last ones on the ways to it."""
    layers = {name for name, module in model.named_modules() if _is_weight_layer(module)}
    (output,) = captured.program.graph.find_nodes(op="output")
    return [frozenset(_last_layers(node, layers)) for node in output.all_input_nodes]


def _last_layers(node: Node, layers: Set[str]) -> Iterator[str]:
    ahead, seen = [node], {node}
    while ahead:
        here = ahead.pop()
        if last := _modules(here) & layers:
            yield from last
            continue
        ahead += (new := set(here.all_input_nodes) - seen)
        seen |= new


def _is_head(name: str, heads: Sequence[frozenset[str]]) -> bool:
    return any(last and all(f"{layer}.".startswith(f"{name}.") for layer in last) for last in heads)


def _only_added(captured: Captured) -> frozenset[str]:
    """Return the modules whose outputs go nowhere but into sums with what comes from outside of them."""
    around = {node: _modules(node) for node in captured.program.graph.nodes}
    exits: dict[str, list[tuple[Node, Node]]] = defaultdict(list)
    for node, names in around.items():
        for user in node.users:
            for name in names - around[user]:
                exits[name].append((node, user))
    return frozenset(
        name for name, edges in exits.items() if all(_is_added(node, user, name, around) for node, user in edges)
    )


def _is_added(node: Node, user: Node, name: str, around: Mapping[Node, frozenset[str]]) -> bool:
    op = op_name(user)
    if op in _HOMOGENEOUS:
        return bool(user.users) and all(_is_added(user, after, name, around) for after in user.users)
    if op != "add":
        return False
    others = [side for side in user.args[:2] if side is not node]
    return len(others) == 1 and isinstance(others[0], Node) and name not in around[others[0]]


def _modules(node: Node) -> frozenset[str]:
    # A module that is called again has "@1" and so on behind its name.
    stack = (node.meta.get("nn_module_stack") or {}).values()
    return frozenset(re.sub(r"@\d+", "", str(entry[0])) for entry in stack) - {""}
