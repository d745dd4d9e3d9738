"""`edgeprune explain`: why each group was cut, frozen or kept; why the winner won."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder

What = Annotated[
    str | None, typer.Argument(help="A folder of `edgeprune prune`, or a run's id or its beginning; the newest run.")
]


def explain(
    what: What = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
    store: o.Store = None,
) -> None:
    """Say why each group was cut, frozen or kept, and for a run why the winner won and the others lost."""
    from edgeprune.cli._output import output

    with output("explain", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow
        from edgeprune.cli._group_bars import explanation_view

        found = flow.explain(optional_config(config), what, store)
        line = found.fates[0].why if found.fates else found.prune.spec.label if found.prune else ""
        out.show(found, lambda: explanation_view(found), line)
