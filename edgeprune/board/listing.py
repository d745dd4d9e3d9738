"""A board as a device: in the user's device list, its host key trusted, so that `--device NAME` finds it."""

from __future__ import annotations

from edgeprune.board import keys
from edgeprune.board.boards import Board
from edgeprune.devices.device_list import make_profile, put_device, remove_device
from edgeprune.devices.resolve import read_device_list, user_list_path
from edgeprune.devices.ssh_known_hosts import entry_name, forget, remember
from edgeprune.errors import UsageError
from edgeprune.values.device import DeviceProfile

BOARD_TYPE = "virtual-arm64"


def check_name(name: str) -> None:
    """See that a name in the device list is free for a virtual board, before one is made.

    Args:
        name: Of the board.

    Raises:
        UsageError: It is another device's.
    """
    listed = read_device_list(user_list_path()).get(name)
    if listed is not None and listed.board != BOARD_TYPE:
        step = f"Give the board another one: edgeprune board up NAME. Or: edgeprune devices remove {name}."
        raise UsageError(f"{name!r} is the device {listed.address} in your list.", step)


def enlist(board: Board, *, serial: bool) -> DeviceProfile:
    """Put a board into the device list, and trust the host key that was made for it.

    Args:
        board: On.
        serial: Whether the device is reached over its console, and not over SSH.

    Returns:
        What is in the list.
    """
    address = board.serial_address if serial else board.ssh_address
    profile = make_profile(board.name, address, BOARD_TYPE, "none", [f"mode={board.mode}"])
    remember(_host(board), keys.host_key(board.folder))
    put_device(profile)
    return profile


def strike(board: Board) -> None:
    """Take a board and its host key out of the lists; what is not there is no matter."""
    forget(_host(board))
    listed = read_device_list(user_list_path()).get(board.name)
    if listed is not None and listed.board == BOARD_TYPE:
        remove_device(board.name)


def _host(board: Board) -> str:
    return entry_name("127.0.0.1", board.port)
