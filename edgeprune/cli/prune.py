"""`edgeprune prune`: one pruned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_folder

Folder = Annotated[Path, typer.Option("-o", "--output", help="Folder for recipe, weights and report.")]
CRITERIA = "l1, l2, taylor, hessian, bn_scale, fpgm, lamp or random; taylor for channels by default."


def prune(
    output_folder: Folder,
    method: Annotated[str, typer.Option(help="weight, channel, layer, connection or hybrid.")] = "channel",
    criterion: Annotated[str, typer.Option(help=CRITERIA)] = "",
    ratio: Annotated[float | None, typer.Option(help="Share of channels or layers to remove, such as 0.5.")] = None,
    sparsity: Annotated[float | None, typer.Option(help="Share of weights to zero (weight, hybrid).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Zero weights below it (weight, hybrid).")] = None,
    relative_threshold: Annotated[
        float | None, typer.Option(help="Likewise, as a share of each tensor's largest weight.")
    ] = None,
    nm: Annotated[str | None, typer.Option(help="Pattern such as 2:4: of every 4 weights keep 2 (weight).")] = None,
    target: Annotated[str | None, typer.Option(help='Such as "params <= 0.25x" (channel).')] = None,
    scope: Annotated[
        str, typer.Option(help="Rank all together (global), each alone (local), or isomorphic.")
    ] = "global",
    steps: Annotated[int, typer.Option(min=1, help="Reach the amount in so many prunes, training between.")] = 1,
    schedule: Annotated[str, typer.Option(help="linear, cubic or exponential.")] = "linear",
    heads: Annotated[str, typer.Option(help="What goes from attention: width, or whole heads.")] = "width",
    round_to: Annotated[int, typer.Option(min=1, help="Widths become multiples of this.")] = 1,
    exclude: Annotated[list[str] | None, typer.Option(help="Modules that stay as they are: a pattern; repeat.")] = None,
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

        usual = "taylor" if method in ("channel", "hybrid") else ""
        spec = PruneSpec(
            method, criterion or usual, ratio, sparsity, threshold, relative_threshold, nm, target, scope, steps,
            round_to, tuple(exclude or ()), seed, schedule=schedule, heads=heads,
        )  # fmt: skip
        summary = flow.prune_project(load(config), spec, output_folder, finetune=finetune, listener=out.listener)
        out.show(summary, lambda: prune_view(summary), str(output_folder))
