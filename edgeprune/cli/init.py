"""`edgeprune init`: a new project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli._options import Json, Quiet

Example = Annotated[str | None, typer.Option(help="Begin with an example: fashion-mnist or digits.")]
Folder = Annotated[Path, typer.Argument(help="The project's folder; made if it is not there.")]


def init(directory: Folder = Path(), example: Example = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write a commented edgeprune.toml, or a whole example."""
    from edgeprune.cli._output import output

    with output("init", as_json=as_json, quiet=quiet) as out:
        from edgeprune.examples import write_project

        written = write_project(directory, example)
        names = "\n".join(f"wrote {path}" for path in written)
        go_on = f"next: cd {directory} && edgeprune deploy --device local"
        out.show({"written": written}, lambda: f"{names}\n{go_on}", str(directory))
