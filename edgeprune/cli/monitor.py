"""`edgeprune monitor`: what a board is like, live."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder, the_board


def monitor(
    device: o.Device = "local",
    expect_device_id: o.ExpectDeviceId = None,
    interval: Annotated[str, typer.Option(help="Between two readings, such as 0.5s.")] = "1s",
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many; with --json, 1 unless given.")] = None,
    meter: o.Meter = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Show temperature, clock, load, power and throttling of a board until Ctrl-C; others may work on it."""
    from edgeprune.cli._output import output

    with output("monitor", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow, units
        from edgeprune.cli._board_views import HEADER, reading_line, reasons_noted

        project = optional_config(config)
        board = the_board(o.Board(device, expect_device_id), project)
        wanted = 1 if as_json and count is None else count
        seconds = units.parse_quantity(interval, "s")
        readings = flow.watch_board(board, seconds, wanted, meter=meter, config=project)
        if as_json:
            out.show({"device": board.name, "readings": list(readings)}, lambda: "", "")
            return
        with suppress(KeyboardInterrupt):
            out.lines(HEADER, map(reading_line, reasons_noted(readings, out.note)))
