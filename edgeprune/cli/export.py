"""`edgeprune export`: one artifact and its parity report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder

Source = Annotated[
    Path | None,
    typer.Option("--from", help="Folder of `edgeprune prune -o`, or a float .onnx or .tflite file of any origin."),
]
File = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]
Precision = Annotated[str, typer.Option(help="fp32, fp16, int8, int8-dynamic or int8-mixed.")]
Target = Annotated[str | None, typer.Option(help="onnxruntime==1.19.2, or a board type such as jetson-nano.")]
Calibration = Annotated[str, typer.Option(help="minmax, entropy or percentile; of static int8 in ONNX.")]
IntegerIo = Annotated[bool, typer.Option("--integer-io", help="Inputs and outputs in int8 too; TFLite int8.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Images as (N, H, W, C); TFLite.")]
DynamicBatch = Annotated[bool, typer.Option("--dynamic-batch", help="Leave the batch open; ONNX.")]
MinAgreement = Annotated[str | None, typer.Option(help="Least top-1 agreement with the network, such as 99%.")]
MaxError = Annotated[str | None, typer.Option(help="Largest error, as a share of the largest output, such as 5%.")]


def export(
    output_file: File,
    format_: Annotated[str, typer.Option("--format", help="onnx or tflite.")] = "onnx",
    precision: Precision = "fp32",
    opset: Annotated[int | None, typer.Option(help="ONNX operator set.")] = None,
    target: Target = None,
    source: Source = None,
    calibration: Calibration = "minmax",
    integer_io: IntegerIo = False,
    channels_last: ChannelsLast = False,
    dynamic_batch: DynamicBatch = False,
    min_agreement: MinAgreement = None,
    max_error: MaxError = None,
    pack: Annotated[bool, typer.Option("--pack", help="Share weights, and write a packed file beside.")] = False,
    loss_budget: Annotated[
        float, typer.Option(help="By how much sharing may raise the loss, in nats, with --pack.")
    ] = 0.01,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Export the project's network, dense or pruned, or a model file of any origin."""
    from edgeprune.cli._output import output
    from edgeprune.units import parse_quantity
    from edgeprune.values.packing import SharingSpec
    from edgeprune.values.spec import ExportSpec

    with output("export", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow
        from edgeprune.cli._tables import artifact_view
        from edgeprune.config import load

        floors = [parse_quantity(text, "ratio") if text else None for text in (min_agreement, max_error)]
        spec = ExportSpec(
            format_, precision, opset, (), dynamic_batch, 8, calibration, integer_io, channels_last, *floors
        )
        spec = flow.spec_for_target(spec, target) if target else spec
        sharing = SharingSpec(loss_budget) if pack else None
        if source is not None and source.is_file():
            given = optional_config(config)
            artifact = flow.export_file(source, spec, output_file, config=given, listener=out.listener)
        else:
            artifact = flow.export_project(
                load(config), spec, output_file, source=source, sharing=sharing, listener=out.listener
            )
        out.show(artifact, lambda: artifact_view(artifact), artifact.sha256)
