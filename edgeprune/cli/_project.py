"""Finding the project that a command speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeprune.cli._options import Board
    from edgeprune.config import Config, DeviceConfig
    from edgeprune.values.device import DeviceProfile


def project_folder(config: Path | None) -> Path | None:
    """Return the folder of the project that a command will load, for its log; None if there is none."""
    if config is not None:
        return config.resolve().parent if config.exists() else None
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "edgeprune.toml").exists()), None)


def optional_config(config: Path | None) -> Config | None:
    """Return the project's configuration, or None where there is none and none was named."""
    from edgeprune.config import load

    return load(config) if config is not None or project_folder(None) else None


def the_board(meant: Board, config: Config | None) -> DeviceProfile:
    """Return the board that is meant, and if its id was given, no other one at its address."""
    from edgeprune.devices import expecting, resolve

    profile = resolve(meant.device, config.devices if config else None)
    return profile if meant.expected_id is None else expecting(profile, meant.expected_id)


def project_devices(config: Path | None) -> Mapping[str, DeviceConfig] | None:
    """Return the devices that the project names, or None where there is no project."""
    loaded = optional_config(config)
    return loaded.devices if loaded else None
