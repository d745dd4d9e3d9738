"""The wiring of the command line, and nothing else."""

from __future__ import annotations

import typer

from edgeprune.cli import (
    _process,
    bench,
    board,
    choose,
    deploy,
    devices,
    doctor,
    explain,
    export,
    init,
    monitor,
    profile,
    prune,
    releases,
    search,
)

app = typer.Typer(
    name="edgeprune",
    help="Take a trained PyTorch network to the best variant for one board: prune, export, measure there, install.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (init, deploy, search, prune, export, bench, profile, monitor, choose, explain, doctor):
    app.command()(getattr(command, command.__name__.rpartition(".")[2]))
app.add_typer(devices.app, name="devices")
app.add_typer(releases.app, name="releases")
app.add_typer(board.app, name="board")


def main() -> None:
    """Run the command line."""
    _process.prepare()
    try:
        app()
    finally:
        _process.finish()
