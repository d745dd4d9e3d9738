"""`edgeprune prune`: one pruned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_folder

Folder = Annotated[Path, typer.Option("-o", "--output", help="Folder for recipe, weights and report.")]
Amount = Annotated[float | None, typer.Option(min=0.0)]


def prune(
    output_folder: Folder,
    method: Annotated[str, typer.Option(help="channel (more methods come).")] = "channel",
    criterion: Annotated[str, typer.Option(help="l1, l2 or taylor.")] = "taylor",
    ratio: Annotated[float | None, typer.Option(help="Share of channels to remove, such as 0.5.")] = None,
    sparsity: Annotated[float | None, typer.Option(help="Share of weights to zero (method weight).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Zero weights below it (method weight).")] = None,
    nm: Annotated[str | None, typer.Option(help="N:M pattern (method weight).")] = None,
    scope: Annotated[str, typer.Option(help="Rank all groups together (global) or each by itself (local).")] = "global",
    round_to: Annotated[int, typer.Option(min=1, help="Widths become multiples of this.")] = 1,
    exclude: Annotated[list[str] | None, typer.Option(help="Modules that keep their width: a pattern; repeat.")] = None,
    seed: int = 0,
    finetune: Annotated[bool, typer.Option(help="Win back accuracy by the project's training data.")] = True,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Prune the project's network, prove it, fine-tune it, and write it down."""
    from edgeprune.cli._output import output
    from edgeprune.values.spec import PruneSpec

    with output("prune", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow
        from edgeprune.cli._tables import prune_view
        from edgeprune.config import load

        spec = PruneSpec(
            method, criterion, ratio, sparsity, threshold, nm=nm, scope=scope, round_to=round_to,
            exclude=tuple(exclude or ()), seed=seed,
        )  # fmt: skip
        summary = flow.prune_project(load(config), spec, output_folder, finetune=finetune, listener=out.listener)
        out.show(summary, lambda: prune_view(summary), str(output_folder))
