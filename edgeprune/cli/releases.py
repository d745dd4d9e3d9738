"""`edgeprune releases`: what is installed on a board, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder, the_board

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeprune.devices import Session

app = typer.Typer(help="What is installed on a board, and the way back.", no_args_is_help=True)
Model = Annotated[str | None, typer.Option(help="The model's name on the board; the project's by default.")]


@app.command("list")
def list_(
    device: o.Device,
    expect_device_id: o.ExpectDeviceId = None,
    model: Model = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """List the releases on a board."""
    from edgeprune import deploying

    board, sink = o.Board(device, expect_device_id), o.Sink(as_json, quiet, config)
    _on_board("list", board, sink, lambda s, _: deploying.releases(s, model))


@app.command()
def status(
    device: o.Device,
    expect_device_id: o.ExpectDeviceId = None,
    model: Model = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Check the current release on the board: its golden inputs must give its golden outputs."""
    from edgeprune import deploying

    board, sink = o.Board(device, expect_device_id), o.Sink(as_json, quiet, config)
    _on_board("status", board, sink, lambda s, name: [deploying.status(s, model or name)])


@app.command()
def rollback(
    device: o.Device,
    expect_device_id: o.ExpectDeviceId = None,
    to: Annotated[str | None, typer.Option(help="A release's id; the previous one by default.")] = None,
    model: Model = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Go back to an earlier release."""
    from edgeprune import deploying

    board, sink = o.Board(device, expect_device_id), o.Sink(as_json, quiet, config)
    _on_board("rollback", board, sink, lambda s, name: [deploying.rollback(s, model or name, to)])


@app.command()
def remove(
    release: Annotated[str, typer.Argument(help="A release's id; never the current one.")],
    device: o.Device,
    expect_device_id: o.ExpectDeviceId = None,
    model: Model = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Remove a release that is not current."""
    from edgeprune import deploying

    def work(session: Session, name: str) -> Any:
        deploying.remove(session, model or name, release)
        return deploying.releases(session, model or name)

    _on_board("remove", o.Board(device, expect_device_id), o.Sink(as_json, quiet, config), work)


def _on_board(command: str, board: o.Board, sink: o.Sink, work: Callable[[Session, str], Any]) -> None:
    from edgeprune.cli._output import output

    folder = project_folder(sink.config)
    with output(f"releases-{command}", as_json=sink.as_json, quiet=sink.quiet, folder=folder) as out:
        from edgeprune.cli._tables import releases_view
        from edgeprune.devices import connect
        from edgeprune.flow import release_data

        config = optional_config(sink.config)
        with connect(the_board(board, config), listener=out.listener) as session:
            name = config.model_name if config else "model"
            found = [r for r in work(session, name) if r is not None]
        data = {"device": board.device, "releases": [{**release_data(r), "current": r.current} for r in found]}
        out.show(data, lambda: releases_view(found), "\n".join(r.path for r in found))
