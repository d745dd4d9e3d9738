"""Boards by name: made of an image, started, reached, powered off, taken away."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from edgeprune.board import folders, keys, login, machine, qemu
from edgeprune.board.building.image import Image, build, find_image
from edgeprune.board.host_tools import TO_RUN, require, run
from edgeprune.board.machine import Parts
from edgeprune.errors import ConnectFailed, UsageError
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.json import from_data, to_data

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_PORT_TRIES = 5
_PORT_S = 3.0
"""Threads of a QEMU that was just killed keep its port for a moment, on a busy host."""
_POWER_OFF_S = 20.0
BOOT_S = 180.0
"""How long a board may take until it lets us in; an idle machine takes 10 s."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board that was made.

    Attributes:
        name: The user's.
        mode: "realtime" or "counted".
        image: Digest of what it was made of.
        port: Of its SSH server, on loopback.
        pid: Of its QEMU; 0 when it is off.
        console: Path of its console's terminal; "" when it is off.
        login_after_s: How long its last start took until it let us in; None if it never did.
    """

    name: str
    mode: str
    image: str
    port: int
    pid: int = 0
    console: str = ""
    login_after_s: float | None = None

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return folders.boards() / self.name

    @property
    def parts(self) -> Parts:
        """Its files."""
        return Parts(self.folder)

    @property
    def is_on(self) -> bool:
        """Whether its QEMU runs."""
        return self.pid > 0 and qemu.runs(self.pid, self.parts.disk)

    @property
    def ssh_address(self) -> str:
        """Its address over SSH."""
        return f"ssh://{keys.USER}@127.0.0.1:{self.port}?identity={keys.login_key(self.folder)}"

    @property
    def serial_address(self) -> str:
        """Its address over its console."""
        return f"serial://{self.console}?login={keys.USER}"


def find_board(name: str) -> Board | None:
    """Return a board by its name, or None if it was not made."""
    path = _state(folders.boards() / name)
    return from_data(Board, json.loads(path.read_text("utf-8"))) if path.is_file() else None


def all_boards() -> list[Board]:
    """Return every board that was made, by name."""
    found = (find_board(path.name) for path in sorted(folders.boards().iterdir()) if path.is_dir())
    return [board for board in found if board is not None]


def start(name: str, mode: str | None = None, listener: Listener = ignore) -> Board:
    """Start a board; make it, and its image, if it is not there.

    Args:
        name: What to call it.
        mode: "realtime" or "counted"; None for the one that it has, else realtime.
        listener: Hears of the steps.

    Returns:
        The board, which lets us in.

    Raises:
        UsageError: The name cannot be one, it has another mode, or programs are missing.
        ConnectFailed: It does not come up.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a board.", "Use letters, digits and '-'.")
    require(TO_RUN)
    folder = folders.boards() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    with folders.locked(folder):
        board = find_board(name) or _make(name, mode or "realtime", build(listener))
        if mode not in (None, board.mode):
            step = f"Give this one another name, or: edgeprune board down {name} --delete."
            raise UsageError(f"The board {name!r} is a {board.mode} one.", step)
        if board.is_on:
            return board
        listener(Event("board", name, message=f"starts the {board.mode} board {name}"))
        return _start(board)


def power_off(board: Board) -> Board:
    """Power a board off, by its own command if it listens.

    Args:
        board: On or off.

    Returns:
        The board, off.
    """
    with folders.locked(board.folder):
        if board.is_on:
            login.power_off(board.folder, board.port)
            if not qemu.wait_for_end(board.pid, board.parts.disk, _POWER_OFF_S):
                qemu.end(board.pid, board.parts.disk)
        return _keep(replace(board, pid=0, console=""))


def pull_plug(board: Board) -> Board:
    """End a board at once, as a pulled plug does.

    Args:
        board: On or off.

    Returns:
        The board, off; its disk is as it was at that instant.
    """
    qemu.end(board.pid, board.parts.disk, hard=True)
    return _keep(replace(board, pid=0, console=""))


def delete(board: Board) -> None:
    """Delete a board and what is on its disk.

    Args:
        board: Off.
    """
    shutil.rmtree(board.folder)


def _make(name: str, mode: str, image: Image) -> Board:
    board = Board(name, mode, image.digest, qemu.free_port())
    parts = board.parts
    for path in parts.folder.iterdir():  # of a making that was ended in its midst
        path.unlink()
    keys.make_keys(parts.folder)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.disk, "-F", "raw", parts.disk])
    parts.ramdisk.write_bytes(image.ramdisk.read_bytes() + keys.seed(parts.folder))
    run(machine.describe_command(mode, parts.device_tree))
    run(["fdtput", "-t", "s", parts.device_tree, "/", "model", machine.model(mode)])
    return _keep(board)


def _start(board: Board) -> Board:
    image = find_image(board.image)
    if image is None:
        step = f"Run: edgeprune board down {board.name} --delete. Then start it again."
        raise UsageError(f"The image {board.image} of the board {board.name!r} is gone from the cache.", step)
    started = time.monotonic()
    board = _keep(_run_qemu(board, image))
    try:
        login.wait(board.folder, board.port, lambda: board.is_on, BOOT_S)
    except ConnectFailed:
        qemu.end(board.pid, board.parts.disk)
        raise
    return _keep(replace(board, login_after_s=round(time.monotonic() - started, 2)))


def _run_qemu(board: Board, image: Image) -> Board:
    # The port that it had, so that addresses stay; another one if somebody took it meanwhile.
    for _ in range(_PORT_TRIES):
        port = board.port if qemu.comes_free(board.port, _PORT_S) else qemu.free_port()
        board = replace(board, port=port)
        try:
            pid, console = qemu.start(machine.start_command(board.mode, image, board.parts, port), board.parts)
            return replace(board, pid=pid, console=console)
        except qemu.PortTaken as error:
            taken = error
    raise taken


def _keep(board: Board) -> Board:
    draft = _state(board.folder).with_suffix(".new")
    draft.write_text(json.dumps(to_data(board), indent=1), "utf-8")
    draft.replace(_state(board.folder))
    return board


def _state(folder: Path) -> Path:
    return folder / "board.json"
