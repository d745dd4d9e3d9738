"""The user's terminal at a board's console, until the user leaves."""

from __future__ import annotations

import os
import select
import termios
import tty

from edgeprune.board.boards import Board
from edgeprune.errors import ConnectFailed, UsageError

LEAVE = b"\x1d"
"""Ctrl-]."""
_BLOCK = 4096


def attach(board: Board) -> None:
    """Join the terminal of this process and a board's console, until Ctrl-] or the board's end.

    Args:
        board: Whose console.

    Raises:
        ConnectFailed: The board is off.
        UsageError: This process has no terminal.
    """
    if not board.is_on:
        raise ConnectFailed(f"The board {board.name!r} is off.", f"Run: edgeprune board up {board.name}.")
    try:
        user = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        raise UsageError("There is no terminal to show the console on.", "Run it at one.") from error
    console = os.open(board.console, os.O_RDWR | os.O_NOCTTY)
    before = termios.tcgetattr(user)
    try:
        tty.setraw(user)
        tty.setraw(console)
        _join(user, console)
    finally:
        termios.tcsetattr(user, termios.TCSADRAIN, before)
        os.close(console)
        os.close(user)


def _join(user: int, console: int) -> None:
    other = {user: console, console: user}
    while True:
        ready, _, _ = select.select([user, console], [], [])
        for source in ready:
            try:
                data = os.read(source, _BLOCK)
            except OSError:  # how a terminal says that its other end is gone
                return
            if not data or (source == user and LEAVE in data):
                return
            os.write(other[source], data)
