"""Where the wheels for a board come from: a folder of the user's, or a package index by this machine's pip."""

from __future__ import annotations

import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from edgeprune.devices.replies import clean_text
from edgeprune.devices.wheel_names import Target, fits, is_wheel_name
from edgeprune.errors import StorageError, UsageError

_PIP = ("-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2")
_UNREACHED = ("connection broken", "Connection to", "NewConnectionError", "ConnectTimeout", "NameResolutionError")
_ELSEWHERE = "fetch the wheels where there is one and give their folder: --wheels DIR"


def wheels_of(folder: Path, target: Target) -> list[Path]:
    """Return the wheels of a folder: all of them are meant.

    Args:
        folder: Of the user's.
        target: The Python that they are for.

    Returns:
        Their paths.

    Raises:
        UsageError: There is none, or one is for another Python, or damaged.
        StorageError: The folder cannot be read.
    """
    try:
        wheels = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}.", "Name a folder of wheels.") from error
    if not wheels:
        raise UsageError(f"There is no wheel in {folder}.", "Put .whl files there.")
    for wheel in wheels:
        _check(wheel, target)
    return wheels


def _check(wheel: Path, target: Target) -> None:
    if not is_wheel_name(wheel.name):
        raise UsageError(f"{wheel.name!r} is no name of a wheel.", "Leave the file its name, or take it away.")
    if not fits(wheel.name, target):
        step = f"Fetch the one for {target}, or take it out of the folder."
        raise UsageError(f"{wheel.name} is for another Python than {target}.", step)
    try:
        with zipfile.ZipFile(wheel) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UsageError(f"{wheel.name} is damaged: {error}.", "Fetch it again.") from error
    except OSError as error:
        raise StorageError(f"{wheel} cannot be read: {error.strerror}.", "See whether it can be read.") from error
    if damaged is not None:
        raise UsageError(f"{wheel.name} is damaged: {damaged!r} does not fit its checksum.", "Fetch it again.")


def fetch_wheels(packages: Sequence[str], target: Target, folder: Path) -> list[Path]:
    """Fetch packages and what they need, as wheels for another machine.

    Args:
        packages: As pip calls them, such as "onnxruntime==1.23.2".
        target: The Python that they are for.
        folder: Where to; empty.

    Returns:
        The wheels.

    Raises:
        UsageError: This machine has no pip or reaches no index, or there is no such wheel.
        StorageError: This machine's disk is full.
    """
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    version = f"{target.python[0]}.{target.python[1]}"
    kind = ["--python-version", version, "--implementation", "cp", "--abi", target.abi]
    options = ["--only-binary", ":all:", *platforms, *kind, "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, *_PIP, *options, "--", *packages],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        error = _pip_error(packages, target, done.stderr)
        raise error
    return wheels_of(folder, target)


def _pip_error(packages: Sequence[str], target: Target, said: str) -> UsageError:
    wanted = ", ".join(packages)
    if "No module named pip" in said:
        step = f"Run: {sys.executable} -m ensurepip. Or {_ELSEWHERE}."
        return UsageError("This machine's Python has no pip to fetch wheels with.", step)
    if any(words in said for words in _UNREACHED):
        return UsageError(f"No package index can be reached for {wanted}.", f"See to the network, or {_ELSEWHERE}.")
    if "No space left on device" in said:
        return StorageError("This machine's disk is full.", "Free some, or set TMPDIR to a larger disk.")
    if "No matching distribution" in said:
        step = f"Take another Python on the board, or {_ELSEWHERE}."
        return UsageError(f"There is no wheel of {wanted}, or of what it needs, for {target}.", step)
    lines = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.strip().splitlines()[-1:]
    return UsageError(f"pip failed: {clean_text(' '.join(lines), 400)}", f"Correct that, or {_ELSEWHERE}.")
