"""What a board says, checked like any other input: types, ranges, and no control characters for the terminal."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from typing import Any

from edgeprune.errors import ProtocolError
from edgeprune.values.board_state import BoardState
from edgeprune.values.device import DeviceInfo, RuntimeInfo
from edgeprune.values.json import from_data

_MAX_NUMBER = 1 << 53
_STEP = "The board may run another version of the agent; connect again."


def clean_text(text: Any, longest: int = 2000) -> str:
    """Return a text that is safe to show: control and formatting characters become spaces, the end is cut.

    Args:
        text: From the board.
        longest: In characters.

    Returns:
        One line.
    """
    shown = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in str(text)[:longest])
    return " ".join(shown.split())


def text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text of an answer, cleaned.

    Args:
        answer: From the board.
        key: Which.

    Returns:
        The text.

    Raises:
        ProtocolError: There is none.
    """
    value = answer.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"The board's answer has no text {key!r}.", _STEP)
    return clean_text(value)


def optional_text(answer: Mapping[str, Any], key: str) -> str | None:
    """Return a text of an answer, cleaned, or None where it is null."""
    return None if answer.get(key) is None else text(answer, key)


def integer(answer: Mapping[str, Any], key: str, highest: int = _MAX_NUMBER) -> int:
    """Return a whole number of an answer.

    Args:
        answer: From the board.
        key: Which.
        highest: Its bound; the lower one is 0.

    Returns:
        The number.

    Raises:
        ProtocolError: There is none in that range.
    """
    value = answer.get(key)
    if type(value) is not int or not 0 <= value <= highest:
        raise ProtocolError(f"The board's answer has no whole number {key!r} up to {highest}.", _STEP)
    return value


def items(answer: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """Return a list of an answer, all of one type.

    Args:
        answer: From the board.
        key: Which.
        kind: Type of each entry.

    Returns:
        The list.

    Raises:
        ProtocolError: There is none.
    """
    value = answer.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
        raise ProtocolError(f"The board's answer has no list {key!r}.", _STEP)
    return value


def read_info(answer: Mapping[str, Any], hello: Mapping[str, Any]) -> DeviceInfo:
    """Read the answers of `info` and of the handshake.

    Args:
        answer: Of `info`.
        hello: Of the handshake; what it says of the agent counts.

    Returns:
        The facts.
    """
    return DeviceInfo(
        device_id=text(hello, "device_id"),
        boot_id=text(hello, "boot_id"),
        agent=text(hello, "agent"),
        agent_sha256=text(hello, "sha256"),
        python=text(hello, "py"),
        model=text(answer, "model"),
        os=text(answer, "os"),
        kernel=text(answer, "kernel"),
        arch=text(answer, "arch"),
        cpu_count=integer(answer, "cpu_count"),
        memory_bytes=None if answer.get("memory_bytes") is None else integer(answer, "memory_bytes"),
        disk_free_bytes=integer(answer, "disk_free_bytes"),
        governor=optional_text(answer, "governor"),
        runtimes=read_runtimes(answer),
        sensors=tuple(clean_text(name) for name in items(answer, "sensors", str)),
    )


def read_runtimes(answer: Mapping[str, Any]) -> tuple[RuntimeInfo, ...]:
    """Return the runtimes of an answer.

    Args:
        answer: Of `info` or `venv.stage`.

    Returns:
        All that the agent knows, installed or not.
    """
    return tuple(_runtime(entry) for entry in items(answer, "runtimes", dict))


def _runtime(entry: Mapping[str, Any]) -> RuntimeInfo:
    providers = tuple(clean_text(name) for name in items(entry, "providers", str))
    return RuntimeInfo(text(entry, "name"), optional_text(entry, "version"), providers, text(entry, "reason"))


def read_state(answer: Mapping[str, Any]) -> BoardState:
    """Read an answer of `state`, or an event of that kind.

    Args:
        answer: From the board.

    Returns:
        The reading.

    Raises:
        ProtocolError: It is none.
    """
    names = [field.name for field in dataclasses.fields(BoardState)]
    try:
        return from_data(BoardState, {name: _clean(answer[name]) for name in names if name in answer})
    except ValueError as error:
        raise ProtocolError(f"The board's state is not understood ({error}).", _STEP) from error


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {clean_text(name): _clean(item) for name, item in value.items()}
    return clean_text(value) if isinstance(value, str) else value
