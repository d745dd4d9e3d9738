"""Tensors made from nothing: one repeated value fits any width, anything else is there to stay."""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from edgeprune.pruning.labels import Labels
from edgeprune.pruning.nodes import shape_of, unlabelled
from edgeprune.pruning.rules.rule import Rule, Rules
from edgeprune.pruning.trace import Trace


def _repeated(trace: Trace, node: Node, *arguments: Any, **keywords: Any) -> Labels:
    shape = shape_of(node)
    return Labels(shape, {}, frozenset(range(len(shape))))


def _fixed(trace: Trace, node: Node, *arguments: Any, **keywords: Any) -> Any:
    return unlabelled(node)


_REPEATED = ("zeros", "ones", "full", "scalar_tensor", "new_zeros", "new_ones", "new_full")
_FIXED = ("arange", "linspace", "eye", "rand", "randn", "tril_indices", "triu_indices")

RULES: Rules = {**{name: Rule(_repeated) for name in _REPEATED}, **{name: Rule(_fixed) for name in _FIXED}}
