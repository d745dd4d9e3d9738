"""Frozen dataclasses <-> plain JSON data, and content hashes of them.

Only what the values need: nested dataclasses, tuples, paths, integer sample arrays and `None`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ELIDED = types.MappingProxyType({"elided": True})
"""Metadata of a field that is left out of the data while it holds its default: a class can grow such fields, and
what was written and hashed before stays as it was."""


def to_data(value: Any) -> Any:
    """Turn a value into data that `json.dumps` takes.

    Args:
        value: A dataclass, a container of them, or a plain value.

    Returns:
        Dicts, lists, strings, numbers, booleans and None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_data(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not ("elided" in field.metadata and getattr(value, field.name) == field.default)
        }
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, array, frozenset)):
        return [to_data(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(to_data(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_id(*values: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of the values' canonical JSON."""
    return hashlib.sha256(canonical(list(values)).encode()).hexdigest()[:16]


def from_data(kind: type[T], data: Any) -> T:
    """Rebuild a value from what `to_data` made of it, by the annotations of its class.

    Args:
        kind: The class wanted, usually a dataclass of `edgeprune.values`.
        data: Parsed JSON.

    Returns:
        A value equal to the one that was written.

    Raises:
        ValueError: The data has another shape than the class.
    """
    return typing.cast(T, _read(kind, data, kind.__name__))


def _read(hint: Any, data: Any, where: str) -> Any:
    if hint is Any:
        return data
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(hint, data, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _read_union(arguments, data, where)
    if origin is tuple:
        return _read_tuple(arguments, _expect(list, data, where), where)
    if origin is list:
        return array("q", _expect(list, data, where))
    if origin is Mapping:
        items = _expect(dict, data, where).items()
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in items}
    return Path(_expect(str, data, where)) if hint is Path else _read_scalar(hint, data, where)


def _read_dataclass(kind: Any, data: Any, where: str) -> Any:
    hints = _hints(kind)
    unknown = set(_expect(dict, data, where)) - set(hints)
    missing = {field.name for field in dataclasses.fields(kind) if _required(field)} - set(data)
    if unknown or missing:
        raise ValueError(f"{where} does not fit its class: {', '.join(sorted(unknown | missing))}")
    return kind(**{name: _read(hints[name], item, f"{where}.{name}") for name, item in data.items()})


def _read_tuple(arguments: tuple[Any, ...], data: list[Any], where: str) -> tuple[Any, ...]:
    hints = [arguments[0]] * len(data) if arguments[1:] == (...,) else list(arguments)
    if len(hints) != len(data):
        raise ValueError(f"{where} holds {len(data)} items where {len(hints)} are due")
    return tuple(_read(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, data, strict=True)))


def _read_union(arguments: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in arguments:
        return None
    for hint in arguments[:-1]:
        try:
            return _read(hint, data, where)
        except ValueError:
            continue
    return _read(arguments[-1], data, where)


def _read_scalar(hint: Any, data: Any, where: str) -> Any:
    if hint is float and type(data) is int:
        return float(data)
    return _expect(hint, data, where)


def _expect(kind: type[T], data: Any, where: str) -> T:
    if type(data) is not kind:
        raise ValueError(f"{where} is a {type(data).__name__} where a {kind.__name__} is due")
    return data


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    # Before Python 3.12 `array[int]` exists for type checkers only; a list stands in for it, as no value holds one.
    return typing.get_type_hints(kind, localns={"array": list})
