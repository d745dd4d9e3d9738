"""What is known of a board type before any board of it was met: profiles/<name>.toml, each fact with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import edgeprune
from edgeprune.errors import ConfigError, UnknownName

_KEYS = frozenset({"title", "architectures", "facts"})
_FACT_KEYS = frozenset({"value", "source"})


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is so, and who says it.

    Attributes:
        value: A number in the base unit of its name, or text.
        source: Data sheet, page or file of ours.
    """

    value: int | float | str
    source: str


@dataclass(frozen=True, slots=True)
class BoardType:
    """A kind of board.

    Attributes:
        name: Of its file.
        title: For people.
        architectures: As `uname -m` says.
        facts: By name.
    """

    name: str
    title: str
    architectures: tuple[str, ...]
    facts: Mapping[str, Fact]


def profiles_folder() -> Path:
    """Return where the profiles lie: within the installed package, or beside it in a checkout."""
    package = Path(edgeprune.__file__).parent
    shipped = package / "_profiles"
    return shipped if shipped.is_dir() else package.parent / "profiles"


@cache
def board_types() -> Mapping[str, BoardType]:
    """Return every board type by name."""
    return {path.stem: read_board_type(path) for path in sorted(profiles_folder().glob("*.toml"))}


def board_type(name: str) -> BoardType:
    """Return a board type.

    Args:
        name: Of its file, without the suffix.

    Returns:
        What is known of it.

    Raises:
        UnknownName: There is none.
    """
    if name not in board_types():
        raise UnknownName("board profile", name, board_types())
    return board_types()[name]


def read_board_type(path: Path) -> BoardType:
    """Read a profile.

    Args:
        path: A TOML file.

    Returns:
        What it says.

    Raises:
        ConfigError: It is no profile, or a fact lacks its source.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The profile cannot be read: {error}.", "Correct it.", path=str(path)) from error
    if data.keys() != _KEYS or not _is_texts(data["architectures"]) or not isinstance(data["title"], str):
        raise ConfigError("A profile has other keys.", f"Write {', '.join(sorted(_KEYS))}.", path=str(path))
    facts = {name: _fact(path, name, table) for name, table in data["facts"].items()}
    return BoardType(path.stem, data["title"], tuple(data["architectures"]), facts)


def _fact(path: Path, name: str, table: Any) -> Fact:
    whole = isinstance(table, dict) and table.keys() == _FACT_KEYS
    if not whole or not isinstance(table["source"], str) or not table["source"].strip():
        raise ConfigError(f"The fact {name!r} has no value or no source.", "Say who says so.", path=str(path))
    if isinstance(table["value"], bool) or not isinstance(table["value"], (int, float, str)):
        raise ConfigError(f"The fact {name!r} is no number and no text.", "Give one.", path=str(path))
    return Fact(table["value"], table["source"])


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
