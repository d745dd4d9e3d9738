"""Virtual boards -> what a person reads in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeprune.board.boards import Board
from edgeprune.board.building.image import Image
from edgeprune.values.device import DeviceProfile
from edgeprune.values.json import to_data


def board_data(board: Board) -> dict[str, Any]:
    """Return what --json says of a board."""
    on = board.is_on
    serial = board.serial_address if on else None
    return {**to_data(board), "on": on, "ssh_address": board.ssh_address, "serial_address": serial}


def up_view(board: Board, device: DeviceProfile) -> RenderableType:
    """Return a view of a board that was started, and what can be done with it."""
    took = "" if board.login_after_s is None else f"; it let us in after {board.login_after_s:.1f} s"
    lines = [
        Text(f"{board.name} is on ({board.mode}){took}", style="bold"),
        _line(f"ssh     {board.ssh_address}"),
        _line(f"serial  {board.serial_address}"),
        _line(f"try it  edgeprune deploy --device {device.name}"),
    ]
    if board.mode == "counted":
        lines.append(Text("Its times count instructions, 1 ns each; they are no Cortex-A's times.", style="yellow"))
    return Group(*lines)


def status_view(boards: list[Board], image: Image | None) -> RenderableType:
    """Return a view of all boards, and of the image that new ones are made of."""
    table = Table("board", "mode", "is", "ssh", "console", box=None, pad_edge=False)
    for board in boards:
        on = board.is_on
        where = f"127.0.0.1:{board.port}" if on else ""
        table.add_row(board.name, board.mode, "on" if on else "off", where, board.console if on else "")
    made = f"image {image.digest} in {image.folder}" if image else "no image yet: edgeprune board build"
    return Group(*([table] if boards else [Text("no boards: edgeprune board up")]), _line(made))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="fold")
