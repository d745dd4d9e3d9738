"""`edgeprune export`: one artifact and its parity report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_folder

Source = Annotated[
    Path | None, typer.Option("--from", help="Folder of `edgeprune prune -o`; the dense network without.")
]
File = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]


def export(
    output_file: File,
    format_: Annotated[str, typer.Option("--format", help="onnx or tflite.")] = "onnx",
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    opset: Annotated[int | None, typer.Option(help="ONNX operator set.")] = None,
    source: Source = None,
    pack: Annotated[bool, typer.Option("--pack", help="Share weights, and write a packed file beside.")] = False,
    loss_budget: Annotated[
        float, typer.Option(help="By how much sharing may raise the loss, in nats, with --pack.")
    ] = 0.01,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Export the project's network, dense or pruned."""
    from edgeprune.cli._output import output
    from edgeprune.values.packing import SharingSpec
    from edgeprune.values.spec import ExportSpec

    with output("export", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow
        from edgeprune.cli._tables import artifact_view
        from edgeprune.config import load

        spec = ExportSpec(format_, precision, opset)
        sharing = SharingSpec(loss_budget) if pack else None
        artifact = flow.export_project(
            load(config), spec, output_file, source=source, sharing=sharing, listener=out.listener
        )
        out.show(artifact, lambda: artifact_view(artifact), artifact.sha256)
