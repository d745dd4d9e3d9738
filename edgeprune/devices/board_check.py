"""Which profile fits a board, and what it lacks: facts of the board against facts of profiles/."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices.address import LocalAddress, parse_address
from edgeprune.devices.profiles import BoardType, board_types
from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo

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
        package: What brings it by a wheel, as pip calls it; "" where no wheel does.
        note: Why not, or what to know.
    """

    runtime: str
    reason: str
    command: str
    note: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class BoardCheck:
    """A board against the profiles.

    Attributes:
        board: The profile that fits.
        title: Its title.
        listed: The profile that the user's list names, or "".
        agrees: Whether that one fits, too.
        lacks: Runtimes that are missing.
    """

    board: str
    title: str
    listed: str
    agrees: bool
    lacks: tuple[Lack, ...]


def check_board(profile: DeviceProfile, info: DeviceInfo) -> BoardCheck:
    """Compare a board with the profiles.

    Args:
        profile: As listed.
        info: What its agent says.

    Returns:
        What fits and what is missing.
    """
    known = board_types()
    fitting, listed = fitting_board(info, known), known.get(profile.board)
    # What the user says of a board that does not name itself counts, as far as the processor allows it.
    believed = listed is not None and fitting.name.startswith(GENERIC) and info.arch in listed.architectures
    board = listed if listed is not None and believed else fitting
    lacks = tuple(_lack(runtime, profile, info, board) for runtime in info.runtimes if runtime.version is None)
    return BoardCheck(board.name, board.title, profile.board, profile.board in ("", board.name), lacks)


def fitting_board(info: DeviceInfo, known: Mapping[str, BoardType]) -> BoardType:
    """Return the profile whose device-tree model the board's begins with; else the generic one of its architecture.

    Args:
        info: What the board's agent says.
        known: Profiles by name.

    Returns:
        The profile with the longest match.
    """
    able = [board for board in known.values() if info.arch in board.architectures]
    best = max(able, key=lambda board: _match(board, info.model), default=None)
    return best if best is not None and _match(best, info.model) else generic_board(info.arch, known)


def generic_board(arch: str, known: Mapping[str, BoardType]) -> BoardType:
    """Return the profile of any Linux board of an architecture.

    Args:
        arch: As `uname -m` says.
        known: Profiles by name.

    Returns:
        The most special one that has it.
    """
    able = [board for board in known.values() if board.name.startswith(GENERIC) and arch in board.architectures]
    return min(able, key=lambda board: len(board.architectures), default=known[GENERIC])


def _match(board: BoardType, model: str) -> int:
    names = [str(fact.value) for key, fact in board.facts.items() if key.startswith("device_tree_model")]
    return max((len(name) for name in names if model.startswith(name)), default=0)


def _lack(runtime: RuntimeInfo, profile: DeviceProfile, info: DeviceInfo, board: BoardType) -> Lack:
    name = runtime.name
    if command := board.facts.get(f"{name}_command"):
        return Lack(name, runtime.reason, str(command.value), command.source)
    if name not in _PACKAGES:
        return Lack(name, runtime.reason, "", "It comes with the board's system, not by pip.")
    # Which wheels there are is a matter of processor and Python; only where the board says nothing of its own.
    facts = {**generic_board(info.arch, board_types()).facts, **board.facts}
    minor = "_".join(info.python.split(".")[:2])
    fact = board.facts.get(f"{name}_any_python") or facts.get(f"{name}_python{minor}")
    if fact and fact.value == "none":
        return Lack(name, runtime.reason, "", f"pip has none for Python {info.python} on {info.arch}.")
    note = "" if fact else f"Not known to exist for Python {info.python} on {info.arch}; pip will tell."
    package = str(fact.value) if fact else _PACKAGES[name]
    return Lack(name, runtime.reason, _pip_command(profile, board, package), note, package)


def _pip_command(profile: DeviceProfile, board: BoardType, package: str) -> str:
    address = parse_address(profile.address)
    install = f"-m pip install {shlex.quote(package)}"
    if isinstance(address, LocalAddress):
        own = Path(address.root or "~/.edgeprune").expanduser() / "venv/bin/python3"  # workers there prefer it
        return f"{shlex.quote(str(own) if own.exists() else sys.executable)} {install}"
    # A venv, since distributions refuse pip outside of one (PEP 668), and the agent is started by this very one.
    root = address.root or "~/.edgeprune"
    home = "~/" if root.startswith("~/") else ""  # a quoted one would be no home
    venv = home + shlex.quote(f"{root.removeprefix(home)}/venv")
    system = " --system-site-packages" if "system_site_packages" in board.facts else ""
    return f"python3 -m venv{system} {venv} && {venv}/bin/python3 {install}"
