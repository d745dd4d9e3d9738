"""Writing the user's list of boards; what the user wrote into the file by hand stays as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence

from edgeprune.devices.address import parse_address
from edgeprune.devices.profiles import board_type
from edgeprune.devices.resolve import LOCAL, read_device_list, user_list_path
from edgeprune.devices.user_files import change_file
from edgeprune.errors import ConfigError, UnknownName, UsageError
from edgeprune.values.device import DeviceProfile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def make_profile(name: str, address: str, board: str, meter: str, tags: Sequence[str]) -> DeviceProfile:
    """Check what a user says of a board.

    Args:
        name: What to call it.
        address: Its URI.
        board: Name of a board type, or "".
        meter: Power source.
        tags: Such as "bench=lab-2".

    Returns:
        The profile.

    Raises:
        UsageError: A part of it is wrong.
    """
    if not _NAME.fullmatch(name) or name == LOCAL.name:
        raise UsageError(f"{name!r} cannot be the name of a device.", "Use letters, digits, '-', '_' and '.'.")
    if board:
        board_type(board)
    pairs = dict(_tag(text) for text in tags)
    if not meter.isprintable() or not all(part.isprintable() for pair in pairs.items() for part in pair):
        raise UsageError("A meter or a tag holds control characters.", "Leave them out.")
    return DeviceProfile(name, str(parse_address(address)), board, meter, pairs)


def add_device(profile: DeviceProfile) -> None:
    """Put a board into the user's list.

    Args:
        profile: From `make_profile`.

    Raises:
        UsageError: There is one of that name already.
    """

    def add(text: str) -> str:
        if profile.name in read_device_list(user_list_path()):
            step = f"Remove it first: edgeprune devices remove {profile.name}."
            raise UsageError(f"There is a device {profile.name!r} already.", step)
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + _section(profile)

    change_file(user_list_path(), add)


def put_device(profile: DeviceProfile) -> None:
    """Put a board into the user's list in place of the one of that name and that board type.

    Args:
        profile: From `make_profile`, with a board type.

    Raises:
        UsageError: There is a device of that name and of another type already.
    """
    listed = read_device_list(user_list_path()).get(profile.name)
    if listed == profile:
        return
    if listed is not None and listed.board == profile.board:
        remove_device(profile.name)
    add_device(profile)


def remove_device(name: str) -> None:
    """Take a board out of the user's list.

    Args:
        name: Its name there.

    Raises:
        UnknownName: The list has none of that name.
    """

    def remove(text: str) -> str:
        listed = read_device_list(user_list_path())
        if name not in listed:
            raise UnknownName("device in the user's list", name, listed)
        return _without(text, name)

    change_file(user_list_path(), remove)


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"{text!r} is not a tag.", "Write it like bench=lab-2.")
    return key, value


def _section(profile: DeviceProfile) -> str:
    lines = [f"[devices.{_quoted(profile.name)}]", f"address = {_quoted(profile.address)}"]
    lines += [f"profile = {_quoted(profile.board)}"] if profile.board else []
    lines += [f"meter = {_quoted(profile.meter)}"] if profile.meter != "none" else []
    pairs = ", ".join(f"{_quoted(key)} = {_quoted(value)}" for key, value in profile.tags.items())
    lines += [f"tags = {{ {pairs} }}"] if pairs else []
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # of printable text: JSON's and TOML's strings are the same then


def _without(text: str, name: str) -> str:
    before = tomllib.loads(text)["devices"]
    kept, ours = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            ours = _table(line)[:2] == ["devices", name]
        kept += [] if ours else [line]
    after = "".join(kept)
    if tomllib.loads(after).get("devices", {}) != {key: table for key, table in before.items() if key != name}:
        step = f"Remove it by hand from {user_list_path()}."
        raise ConfigError(f"The device {name!r} is not written as a [devices.{name}] of its own.", step)
    return after


def _table(line: str) -> list[str]:
    """Return the names of a table header, or [] if the line is none."""
    try:
        value = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return []
    names = []
    while isinstance(value, dict) and len(value) == 1:
        key, value = next(iter(value.items()))
        names.append(key)
    return names
