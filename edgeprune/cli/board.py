"""`edgeprune board`: a virtual board, for whoever has no hardware yet."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_folder

if TYPE_CHECKING:
    from edgeprune.board.boards import Board
    from edgeprune.cli._output import Output

app = typer.Typer(help="A virtual arm64 board under QEMU: no hardware yet? try it here.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="What the board, and the device, is called.")]


@app.command()
def build(
    fresh: Annotated[bool, typer.Option("--fresh", help="Build it anew, of the newest packages.")] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Build the image of which boards are made; `up` does so by itself."""
    with _output("build", o.Sink(as_json, quiet)) as out:
        from edgeprune.board.building import image
        from edgeprune.cli._device_tables import line_view

        made = image.build(out.listener, fresh=fresh)
        out.show({"image": made.digest, "folder": made.folder}, lambda: line_view(str(made.folder)), made.digest)


@app.command()
def up(
    name: Name = "virtual",
    counted: Annotated[
        bool, typer.Option("--counted", help="A clock that counts instructions: no noise, and no processor's time.")
    ] = False,
    serial: Annotated[bool, typer.Option("--serial", help="Reach it over its console, not over SSH.")] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Start a board, and put it into your device list; it goes on until `down`."""
    with _output("up", o.Sink(as_json, quiet)) as out:
        from edgeprune.board import boards, listing
        from edgeprune.cli._board_tables import board_data, up_view

        listing.check_name(name)
        board = boards.start(name, "counted" if counted else None, out.listener)
        device = listing.enlist(board, serial=serial)
        out.show({**board_data(board), "device": device}, lambda: up_view(board, device), device.address)


@app.command()
def down(
    name: Name = "virtual",
    delete: Annotated[bool, typer.Option("--delete", help="Delete its disk, and take it out of the list.")] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Power a board off; its disk stays, and `up` goes on with it."""
    with _output("down", o.Sink(as_json, quiet)) as out:
        from edgeprune.board import boards, listing
        from edgeprune.cli._board_tables import board_data
        from edgeprune.cli._device_tables import line_view

        board = boards.power_off(_made(name))
        if delete:
            listing.strike(board)
            boards.delete(board)
        text = f"{name} is deleted" if delete else f"{name} is off"
        out.show({**board_data(board), "deleted": delete}, lambda: line_view(text), name)


@app.command()
def status(as_json: o.Json = False, quiet: o.Quiet = False) -> None:
    """List the boards, and the image that new ones are made of."""
    with _output("status", o.Sink(as_json, quiet)) as out:
        from edgeprune.board import boards
        from edgeprune.board.building import image
        from edgeprune.cli._board_tables import board_data, status_view

        found, ready = boards.all_boards(), image.find_image()
        data = {"image": ready.digest if ready else None, "boards": [board_data(board) for board in found]}
        out.show(data, lambda: status_view(found, ready), "\n".join(b.name for b in found if b.is_on))


@app.command()
def console(name: Name = "virtual") -> None:
    """Sit down at a board's console; Ctrl-] leaves it."""
    with _output("console", o.Sink(as_json=False, quiet=False)) as out:
        from edgeprune.board import terminal

        board = _made(name)
        out.note(f"{name}'s console; Ctrl-] leaves it. Log in as `board`, without a password.")
        terminal.attach(board)


def _made(name: str) -> Board:
    from edgeprune.board import boards
    from edgeprune.errors import UnknownName

    board = boards.find_board(name)
    if board is None:
        raise UnknownName("board", name, [board.name for board in boards.all_boards()], " Run: edgeprune board up.")
    return board


def _output(command: str, sink: o.Sink) -> AbstractContextManager[Output]:
    from edgeprune.cli._output import output

    folder = project_folder(sink.config)
    return output(f"board-{command}", as_json=sink.as_json, quiet=sink.quiet, folder=folder)
