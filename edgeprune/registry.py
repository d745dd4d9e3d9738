"""Names to lazily imported objects: the choosable parts of a stage.

A registry is a table that a reader can take in at one glance. Nothing is imported until a name is looked up,
so an entry whose package is missing costs nothing to those who do not use it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgeprune.errors import MissingExtra, UnknownName


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose public names are imported when they are first used.

    Args:
        package: The package's own name.
        homes: Public name to the module that defines it, relative to the package.

    Returns:
        A function that finds a name; it raises AttributeError for one that is not public.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return find


class Registry:
    """A fixed table of names to "module:attribute".

    Args:
        kind: What the names stand for, as used in messages: "criterion", "export format".
        entries: Name to "package.module:attribute".
        extra: The extra of EdgePrune that brings the packages that an entry may lack.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], extra: str = "all") -> None:
        self._kind, self._entries, self._extra = kind, dict(entries), extra

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load(self, name: str) -> Any:
        """Import and return the object behind `name`.

        Args:
            name: A registered name.

        Returns:
            The object.

        Raises:
            UnknownName: `name` is not registered; the error lists what is.
            MissingExtra: The entry needs a package that is not installed.
            ModuleNotFoundError: The entry names a module of EdgePrune that does not exist.
        """
        if name not in self._entries:
            raise UnknownName(self._kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("edgeprune"):
                raise
            raise MissingExtra(error.name or module, self._extra) from error
