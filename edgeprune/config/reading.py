"""A TOML file -> the dataclasses of `edgeprune.config.sections`, driven by their fields and annotations."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Never, cast

from edgeprune.config.positions import Place, line_numbers
from edgeprune.config.rules import Written
from edgeprune.config.sections import Config, ModelConfig
from edgeprune.errors import ConfigError, UsageError, nearest

FILE_NAME = "edgeprune.toml"
_INIT = "Run `edgeprune init` to write one, or name one with --config."
_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list"}


def load(path: Path | None = None, start: Path | None = None) -> Config:
    """Read a project's configuration.

    Args:
        path: The file; None looks for `edgeprune.toml` in `start` and then in the folders above it.
        start: Where to look; None for the working directory.

    Returns:
        The configuration, defaults filled in.

    Raises:
        ConfigError: There is no such file, or it holds something that it may not hold; names file, line, the bad
            value and the nearest valid one.
    """
    file = (path or _search(start or Path.cwd())).absolute()
    text = _read_text(file)
    return _Reader(str(file), _parse(file, text), text).config(file)


def for_file(file: Path, given: Config | None) -> Config:
    """Return the configuration of a model file that stands in place of a project's network.

    Args:
        file: An .onnx or .tflite file.
        given: The project's configuration, whose data, goal and devices hold; None outside of one.

    Returns:
        A configuration with its defaults, or the given one with another model.
    """
    model = ModelConfig(file=str(file.absolute()))
    here = Path.cwd()
    return dataclasses.replace(given, model=model) if given else Config(here / FILE_NAME, here, model)


def _search(start: Path) -> Path:
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(f"There is no {FILE_NAME} in {start.absolute()} or above it.", _INIT)


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError as error:
        raise ConfigError("There is no such file.", _INIT, path=str(file)) from error
    except OSError as error:
        step = "Name a readable file with --config."
        raise ConfigError(f"It cannot be read ({error.strerror}).", step, path=str(file)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        bad = error.object[error.start : error.end]
        raise ConfigError(f"{bad!r} is not UTF-8.", "Save the file as UTF-8.", path=str(file), line=line) from error


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        what, at = found.groups() if found else (str(error), None)
        lines = text.rstrip("\n").split("\n")
        line = int(at) if at else len(lines)
        bad = lines[line - 1].strip() if line <= len(lines) else ""
        step = 'Write key = value, text in quotes: name = "value", and each key once.'
        raise ConfigError(f"{bad!r} is not valid TOML: {what}.", step, path=str(file), line=line) from error


class _Reader:
    """Turns parsed data into dataclasses, and knows on which line each piece stands."""

    def __init__(self, file: str, data: dict[str, Any], text: str) -> None:
        self.file, self.data = file, data
        self.lines = line_numbers(text)

    def config(self, file: Path) -> Config:
        return cast(Config, self.table(Config, self.data, (), {"path": file, "folder": file.parent}))

    def table(self, kind: Any, data: Any, place: Place, given: Mapping[str, Any]) -> Any:
        # `given` holds the fields that do not stand in the table itself.
        self.expect(dict, data, place)
        fields = {_key(field): field for field in dataclasses.fields(kind) if field.name not in given}
        for key in data:
            if key not in fields:
                self.unknown(key, place, fields)
        values, hints = dict(given), _hints(kind)
        for key, field in fields.items():
            if key in data:
                values[field.name] = self.value(hints[field.name], data[key], (*place, key))
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                self.missing(key, place)
        try:
            return kind(**values)
        except UsageError as error:  # what only the whole section shows
            self.fail(error.message, error.next_step, place, error, named=False)

    def value(self, hint: Any, data: Any, place: Place) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            return self.ruled(arguments[0], hint.__metadata__, data, place)
        if origin in (types.UnionType, typing.Union):
            return self.value(arguments[0], data, place)  # TOML has no null: only the other half can stand there
        if origin is tuple:
            self.expect(tuple, data, place)
            return tuple(self.value(arguments[0], item, (*place, index)) for index, item in enumerate(data))
        if origin is Mapping:
            self.expect(dict, data, place)
            return {name: self.entry(arguments[1], name, item, (*place, name)) for name, item in data.items()}
        if dataclasses.is_dataclass(hint):
            return self.table(hint, data, place, {})
        self.expect(hint, data, place)
        return float(data) if hint is float else data

    def entry(self, hint: Any, name: str, data: Any, place: Place) -> Any:
        # An entry that is a dataclass takes its name from its key: [devices.NAME].
        if dataclasses.is_dataclass(hint):
            return self.table(hint, data, place, {"name": name})
        return self.value(hint, data, place)

    def ruled(self, hint: Any, rules: tuple[Any, ...], data: Any, place: Place) -> Any:
        written = next((rule for rule in rules if isinstance(rule, Written)), None)
        if written and not isinstance(data, str):
            self.fail(f"{_shown(data)} is not text with a unit.", f"Write it like {_shown(written.example)}.", place)
        value = data if written else self.value(hint, data, place)
        try:
            if written:
                return written.parse(data)
            for rule in rules:
                rule(value)
        except UsageError as error:
            self.fail(error.message, error.next_step, place, error)
        return value

    def expect(self, kind: type[Any], data: Any, place: Place) -> None:
        """Refuse data of another type; true and false are no numbers, and a number is finite."""
        allowed = {float: (int, float), tuple: (list,)}.get(kind, (kind,))
        if type(data) in allowed and not (kind is float and not math.isfinite(data)):
            return
        if kind is dict:
            name = _dotted(place)
            self.fail(f"{_shown(data)} is not a table.", f"Write a section [{name}] with its keys below.", place)
        guess = _same_value(kind, data)
        step = f"Did you mean {_shown(guess)}?" if guess is not None else f"Give {_TYPE_WORDS[kind]}."
        self.fail(f"{_shown(data)} is not {_TYPE_WORDS[kind]}.", step, place)

    def unknown(self, key: str, place: Place, known: Mapping[str, Any]) -> Never:
        guess = nearest(key, known)
        home = next((name for name, keys in _section_keys().items() if key in keys), None) if not guess else None
        hint = f"Did you mean {guess!r}? " if guess else f"It belongs in [{home}]. " if home else ""
        what, where = ("key", f" in [{_dotted(place)}]") if place else ("section or key", "")
        step = f"{hint}Known{where}: {', '.join(known)}."
        self.fail(f"Unknown {what} {key!r}{where}.", step, (*place, key), named=False)

    def missing(self, key: str, place: Place) -> Never:
        if not place:
            self.fail(
                f"There is no section [{key}].", f"Add [{key}]; `edgeprune init` writes an example.", (), named=False
            )
        self.fail(f"[{_dotted(place)}] has no {key!r}.", f"Add {key} = … there.", place, named=False)

    def fail(
        self, message: str, step: str, place: Place, cause: UsageError | None = None, *, named: bool = True
    ) -> Never:
        prefix = f"{_dotted(place)}: " if named else ""
        raise ConfigError(prefix + message, step, path=self.file, line=self.line(place)) from cause

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


@functools.cache
def _section_keys() -> dict[str, list[str]]:
    sections = {name: hint for name, hint in _hints(Config).items() if dataclasses.is_dataclass(hint)}
    return {name: [_key(field) for field in dataclasses.fields(hint)] for name, hint in sections.items()}


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def _dotted(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def _same_value(kind: type[Any], data: Any) -> Any:
    """Return `data` as the user probably meant it, or None."""
    if kind is tuple:
        return None if isinstance(data, dict) else [data]
    if kind is str:
        return str(data) if type(data) in (int, float) else None
    if isinstance(data, float) and kind is int and data.is_integer():
        return int(data)
    words = {"true": True, "false": False}
    try:
        return words.get(data.lower()) if kind is bool else kind(data) if isinstance(data, str) else None
    except (ValueError, AttributeError):
        return None


def _shown(value: Any) -> str:
    # As TOML would write it, shortened.
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    text = f'"{value}"' if isinstance(value, str) else "a table" if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"
