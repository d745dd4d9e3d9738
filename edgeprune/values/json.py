"""Frozen dataclasses <-> plain JSON data, and content hashes of them.

Only what the values need: nested dataclasses, tuples, paths, integer sample arrays and `None`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def to_data(value: Any) -> Any:
    """Turn a value into data that `json.dumps` takes.

    Args:
        value: A dataclass, a container of them, or a plain value.

    Returns:
        Dicts, lists, strings, numbers, booleans and None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
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
