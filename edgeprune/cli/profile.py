"""`edgeprune profile`: what a board makes of networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder, the_board


def profile(
    file: Annotated[Path | None, typer.Argument(help="A model for threads and heat; ours unless given.")] = None,
    device: o.Device = "local",
    expect_device_id: o.ExpectDeviceId = None,
    heat: Annotated[str, typer.Option(help="How long to load all processors, such as 10m; 0s for not at all.")] = "1m",
    meter: o.Meter = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Measure how a board's latency goes with threads, batch, width and heat, and its idle power."""
    from edgeprune.cli._output import output

    with output("profile", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow, units
        from edgeprune.cli._board_views import profile_view

        project = optional_config(config)
        questions = flow.Questions(file, units.parse_quantity(heat, "s") / 60, meter=meter)
        board = the_board(o.Board(device, expect_device_id), project)
        found = flow.profile_board(board, questions, config=project, listener=out.listener)
        out.show(found, lambda: profile_view(found), found.device)
