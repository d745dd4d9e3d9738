"""The board's Python packages: wheels for its Python, unpacked where Debian's Python looks for them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgeprune.devices.board_check import generic_board
from edgeprune.devices.profiles import board_types
from edgeprune.devices.wheel_files import fetch_wheels
from edgeprune.devices.wheel_names import Target, read_target
from edgeprune.errors import UsageError

RUNTIMES = ("onnxruntime", "litert")
_PYTHON = re.compile(r"libpython3\.(\d+)-minimal_.*\.deb")
_OLDEST_LIBC = "glibc 2.36"
"""Debian 12's; a newer one takes the same wheels."""


def python_of(packages: Sequence[Path]) -> Target:
    """Return the Python among Debian packages.

    Args:
        packages: Package files.

    Returns:
        What decides which wheels fit.

    Raises:
        UsageError: There is none.
    """
    minors = [int(found[1]) for path in packages if (found := _PYTHON.fullmatch(path.name))]
    if not minors:
        raise UsageError("apt fetched no Python 3.", "Build the image on Debian 12 or newer.")
    return read_target(f"cpython-3{max(minors)}-aarch64-linux-gnu", _OLDEST_LIBC)


def fetch_runtimes(target: Target, folder: Path) -> list[Path]:
    """Fetch the runtimes that the profiles name for a Python, and what they need.

    Args:
        target: The Python.
        folder: Where to; made.

    Returns:
        The wheels.

    Raises:
        UsageError: The profiles name none.
    """
    facts = generic_board("aarch64", board_types()).facts
    named = [facts.get(f"{name}_python3_{target.python[1]}") for name in RUNTIMES]
    wanted = [str(fact.value) for fact in named if fact is not None and fact.value != "none"]
    if not wanted:
        raise UsageError(f"No runtime is known for {target}.", "Build the image on Debian 12.")
    folder.mkdir()
    return fetch_wheels(wanted, target, folder)


def unpack_wheels(wheels: Sequence[Path], target: Target, root: Path) -> Path:
    """Unpack wheels into a board's file system.

    Args:
        wheels: Their paths.
        target: The Python that they are for.
        root: The file system's.

    Returns:
        The folder of packages.
    """
    packages = root / f"usr/local/lib/python3.{target.python[1]}/dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
    return packages
