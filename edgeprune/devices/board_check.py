"""Which profile fits a board, and what it lacks: facts of the board against facts of profiles/."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from edgeprune.devices.address import LocalAddress, SshAddress, parse_address
from edgeprune.devices.profiles import BoardType, board_types
from edgeprune.values.device import DeviceInfo, DeviceProfile

GENERIC = "generic-linux"
_PACKAGES = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
"""A runtime to what pip calls it where no profile says otherwise."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A runtime that a board does not have.

    Attributes:
        runtime: Its name.
        reason: The agent's words.
        command: What to run on the board; "" where the board cannot have it.
        note: Why not, or what to know.
    """

    runtime: str
    reason: str
    command: str
    note: str


@dataclass(frozen=True, slots=True)
class BoardCheck:
    """A board against the profiles.

    Attributes:
        board: The profile that fits.
        title: Its title.
        listed: The profile that the user's list names, or "".
        lacks: Runtimes that are missing.
    """

    board: str
    title: str
    listed: str
    lacks: tuple[Lack, ...]

    @property
    def agrees(self) -> bool:
        """Whether the list names no other profile than the one that fits."""
        return self.listed in ("", self.board)


def check_board(profile: DeviceProfile, info: DeviceInfo) -> BoardCheck:
    """Compare a board with the profiles.

    Args:
        profile: As listed.
        info: What its agent says.

    Returns:
        What fits and what is missing.
    """
    fitting = fitting_board(info, board_types())
    address = parse_address(profile.address)
    root = address.root if isinstance(address, SshAddress) else ""
    python = sys.executable if isinstance(address, LocalAddress) else ""
    lacks = tuple(
        Lack(runtime.name, runtime.reason, *_remedy(runtime.name, info, fitting, root, python))
        for runtime in info.runtimes
        if runtime.version is None
    )
    return BoardCheck(fitting.name, fitting.title, profile.board, lacks)


def fitting_board(info: DeviceInfo, known: Mapping[str, BoardType]) -> BoardType:
    """Return the profile whose device-tree model the board's begins with; else the generic one of its architecture.

    Args:
        info: What the board's agent says.
        known: Profiles by name.

    Returns:
        The profile with the longest match.
    """
    able = [board for board in known.values() if info.arch in board.architectures]
    named = [board for board in able if _names(board, info.model)]
    if named:
        return max(named, key=lambda board: len(str(board.facts["device_tree_model"].value)))
    generic = [board for board in able if board.name.startswith(GENERIC)]
    return min(generic, key=lambda board: len(board.architectures)) if generic else known[GENERIC]


def _names(board: BoardType, model: str) -> bool:
    fact = board.facts.get("device_tree_model")
    return fact is not None and model.startswith(str(fact.value))


def _remedy(runtime: str, info: DeviceInfo, board: BoardType, root: str, python: str) -> tuple[str, str]:
    version = tuple(int(part) for part in info.python.split(".")[:2] if part.isdigit())
    minor = "_".join(map(str, version))
    fact = board.facts.get(f"{runtime}_python{minor}")
    wanted = str(fact.value) if fact else _PACKAGES.get(runtime, runtime)
    if wanted == "none":
        return "", f"pip has no {_PACKAGES.get(runtime, runtime)} for Python {info.python} on {info.arch}."
    note = "" if fact else f"Not known to exist for Python {info.python} on this board; pip will tell."
    if python:
        return f"{shlex.quote(python)} -m pip install {shlex.quote(wanted)}", note
    # A venv, since distributions refuse pip outside of one (PEP 668), and the starter looks for this very one.
    venv = shlex.quote(f"{root}/venv") if root else "~/.edgeprune/venv"
    system = " --system-site-packages" if board.facts.get("system_site_packages") else ""
    return f"python3 -m venv{system} {venv} && {venv}/bin/python3 -m pip install {shlex.quote(wanted)}", note
