"""Patterns of module names -> the groups that keep their width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from edgeprune.errors import UsageError, nearest
from edgeprune.pruning.capture import modules_of
from edgeprune.pruning.groups import ChannelGroup


def check_patterns(model: nn.Module, patterns: Iterable[str]) -> None:
    """Refuse a pattern that names nothing.

    Args:
        model: The model.
        patterns: `fnmatch` patterns.

    Raises:
        UsageError: A pattern matches no module.
    """
    patterns = tuple(patterns)
    if not patterns:
        return
    names = [name for name in modules_of(model) if name]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            guess = nearest(pattern, names)
            hint = f"Did you mean {guess!r}? " if guess else ""
            raise UsageError(
                f"exclude: {pattern!r} matches no module.", f"{hint}Use names as in model.named_modules()."
            )


def excluded_by(group: ChannelGroup, patterns: Sequence[str]) -> str | None:
    """Return the pattern that names a producing layer of a group, or a module around one; None if none does."""
    names = {ancestor for producer in group.producers for ancestor in ancestors(producer)}
    return next((pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in names)), None)


def ancestors(name: str) -> list[str]:
    """Return the names of the modules around a module, and its own."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
