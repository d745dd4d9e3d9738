"""Deep copies of modules, several times as fast as `copy.deepcopy`, which looks into every attribute of each module."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import torch
from torch import nn

_OWN = frozenset(nn.Module().__dict__)
"""What torch keeps on each module for itself alone, mostly empty tables of hooks."""

_TABLES = frozenset({dict, set, OrderedDict})

_IMMUTABLE = frozenset({
    type(None), bool, int, float, complex, str, bytes, type, types.FunctionType, types.BuiltinFunctionType,
    torch.dtype, torch.device, torch.Size,
})  # fmt: skip


def copied_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return what `copy.deepcopy(module, memo)` does.

    Args:
        module: Any module.
        memo: Copies by the `id` of the original, as of `copy.deepcopy`; more are added.

    Returns:
        The copy.
    """
    found: nn.Module | None = memo.get(id(module))
    if found is not None:
        return found
    kind: Any = type(module)
    if not _copies_plainly(kind):
        return deepcopy(module, memo)
    new: nn.Module = kind.__new__(kind)
    memo[id(module)] = new  # before its parts, which may lead back to it
    state = dict(vars(module))
    for name, value in state.items():
        own = type(value)
        if own in _IMMUTABLE:
            continue
        if own in _TABLES and not value and name in _OWN:
            state[name] = own()
        else:
            state[name] = _copied_own(name, value, memo) if name in _OWN else _copied_value(value, memo)
    restore: Callable[[Any], None] = new.__setstate__
    restore(state)
    return new


@cache
def _copies_plainly(kind: Any) -> bool:
    """Return whether a type of module leaves it to Python how it is copied."""
    plain = all(getattr(kind, name, None) is getattr(nn.Module, name, None) for name in _HOOKS)
    return plain and not any("__slots__" in vars(base) for base in kind.__mro__[:-1])


_HOOKS = (
    "__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs__", "__getnewargs_ex__", "__new__",
)  # fmt: skip
"""What a type may define to have a say in it; a `__setstate__` of its own is called in either case."""


def _copied_own(name: str, value: Any, memo: dict[int, Any]) -> Any:
    if name == "_modules":
        return type(value)((key, None if child is None else copied_module(child, memo)) for key, child in value.items())
    if name == "_parameters":
        return type(value)((key, _copied_value(tensor, memo)) for key, tensor in value.items())
    if name == "_buffers":
        return type(value)((key, _copied_buffer(key, buffer, memo)) for key, buffer in value.items())
    return _copied_value(value, memo)


def _copied_buffer(name: str, value: Any, memo: dict[int, Any]) -> Any:
    # Every batch norm has a counter, and a deep copy of a tensor copies its storage by way of Python.
    if name != "num_batches_tracked" or type(value) is not torch.Tensor or value.requires_grad or id(value) in memo:
        return _copied_value(value, memo)
    copy = memo[id(value)] = value.clone()
    return copy


def _copied_value(value: Any, memo: dict[int, Any]) -> Any:
    if type(value) in _IMMUTABLE or (type(value) is tuple and all(type(each) in _IMMUTABLE for each in value)):
        return value
    known = memo.get(id(value))
    return deepcopy(value, memo) if known is None else known
