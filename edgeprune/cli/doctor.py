"""`edgeprune doctor`: is everything here that is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder
from edgeprune.errors import EXIT_OK, EXIT_USAGE

Board = Annotated[str, typer.Option("--device", "-d", help="The board to look at, too.")]


def doctor(
    device: Board = "local", as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None
) -> None:
    """Check host, project and board, and name the fix for what is wrong."""
    from edgeprune.cli._output import output

    with output("doctor", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune.cli._tables import findings_view
        from edgeprune.flow import examine

        findings = examine(device, lambda: optional_config(config))
        broken = sum(not finding.ok for finding in findings)
        out.show({"findings": findings}, lambda: findings_view(findings), f"{broken} problems")
        out.exit_code = EXIT_USAGE if broken else EXIT_OK
