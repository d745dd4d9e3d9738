"""What the user calls a board -> its DeviceProfile."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeprune.config import DeviceConfig
from edgeprune.devices.address import is_address, parse_address
from edgeprune.errors import ConfigError, UnknownName, UsageError
from edgeprune.values.device import DeviceProfile

LOCAL = DeviceProfile("local", "local://", board="generic-linux")
"""Known everywhere: the machine at hand."""
_TEXT_KEYS = ("address", "profile", "meter", "device_id")
_DEVICE_ID = re.compile("[0-9a-f]{16}")


def user_list_path() -> Path:
    """Return the file that lists the user's boards, whether it is there or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "edgeprune" / "devices.toml"


def known_devices(project: Mapping[str, DeviceConfig] | None = None) -> dict[str, DeviceProfile]:
    """Return every board that has a name: the project's first, then the user's, then "local".

    Args:
        project: The devices of `edgeprune.toml`.

    Returns:
        Profiles by name; a name that is listed twice is the project's.

    Raises:
        ConfigError: The user's list holds something that it may not hold.
    """
    mine = {name: _profile(device) for name, device in (project or {}).items()}
    listed = read_device_list(user_list_path())
    return {LOCAL.name: LOCAL} | listed | mine


def resolve(target: str | DeviceProfile, project: Mapping[str, DeviceConfig] | None = None) -> DeviceProfile:
    """Find the board that the user means.

    Args:
        target: A name, a tag ("lab-2", or "bench=lab-2" to name its key), an address, or a profile, which is itself.
        project: The devices of `edgeprune.toml`.

    Returns:
        Its profile.

    Raises:
        UnknownName: It is neither of them; the error lists the known names.
        UsageError: A tag fits several boards, or an address is wrong.
        ConfigError: The user's list holds something that it may not hold.
    """
    if isinstance(target, DeviceProfile):
        return target
    known = known_devices(project)
    if target in known:
        return known[target]
    tagged = [profile for profile in known.values() if _has_tag(profile, target)]
    if len(tagged) > 1:
        names = ", ".join(profile.name for profile in tagged)
        raise UsageError(f"The tag {target!r} fits several devices.", f"Name one of them: {names}.")
    if tagged:
        return tagged[0]
    if is_address(target):
        return DeviceProfile(target, str(parse_address(target)))
    raise UnknownName("device", target, known, f" Or give an address, or list it in {user_list_path()}.")


def expecting(profile: DeviceProfile, device_id: str) -> DeviceProfile:
    """Return a profile that means one board alone, whatever else may answer at its address.

    Args:
        profile: The board and the way to it.
        device_id: As the board's agent says it.

    Returns:
        The profile with that id.

    Raises:
        UsageError: It is no device id.
    """
    if not _DEVICE_ID.fullmatch(device_id):
        step = f"Write the 16 hex digits that `edgeprune devices info {profile.name}` says."
        raise UsageError(f"{device_id!r} is no device id.", step)
    return replace(profile, device_id=device_id)


def read_device_list(path: Path) -> dict[str, DeviceProfile]:
    """Read a list of boards: a TOML table [devices.NAME] for each.

    Args:
        path: The file; one that is not there lists nothing.

    Returns:
        Profiles by name.

    Raises:
        ConfigError: It is no such list.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"The device list cannot be read: {error}.", "Correct it.", path=str(path)) from error
    tables = data.pop("devices", {})
    if data or not isinstance(tables, dict):
        stray = min(data, default="devices")
        raise ConfigError(f"{stray!r} has no place here.", "Write a [devices.NAME] for each board.", path=str(path))
    return {name: _listed(path, name, table) for name, table in tables.items()}


def _listed(path: Path, name: str, table: Any) -> DeviceProfile:
    where = f"[devices.{name}]"
    if not isinstance(table, dict) or "address" not in table:
        raise ConfigError(f"{where} has no address.", 'Add address = "ssh://user@host".', path=str(path))
    for key, value in table.items():
        wanted = str if key in _TEXT_KEYS else dict if key == "tags" else None
        if wanted is None:
            raise ConfigError(
                f"{where} has an unknown key {key!r}.", f"Known: {', '.join(_TEXT_KEYS)}, tags.", path=str(path)
            )
        texts = value.values() if isinstance(value, dict) else [value]
        if not isinstance(value, wanted) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{where} {key} is not text.", "Put it in quotes.", path=str(path))
    try:
        return _profile(DeviceConfig(name, **table))
    except UsageError as error:
        raise ConfigError(f"{where} {error.message}", error.next_step, path=str(path)) from error


def _profile(device: DeviceConfig) -> DeviceProfile:
    address = str(parse_address(device.address))
    profile = DeviceProfile(device.name, address, device.profile, device.meter, dict(device.tags))
    return expecting(profile, device.device_id) if device.device_id else profile


def _has_tag(profile: DeviceProfile, text: str) -> bool:
    return any(text in (value, f"{key}={value}") for key, value in profile.tags.items())
