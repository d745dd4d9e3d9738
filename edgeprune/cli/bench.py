"""`edgeprune bench`: measure one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import optional_config, project_folder, the_board


def bench(
    file: Annotated[Path, typer.Argument(help="An .onnx or .tflite file, ours or not.")],
    device: o.Device = "local",
    expect_device_id: o.ExpectDeviceId = None,
    runtime: Annotated[str, typer.Option(help="onnxruntime, litert, or auto for the format's own.")] = "auto",
    threads: Annotated[int, typer.Option(min=1)] = 1,
    plan: Annotated[str, typer.Option(help="quick, default, strict, sustained, duty or tiny.")] = "default",
    rate: Annotated[float | None, typer.Option(min=0, help="Inferences a second, idle between; for any plan.")] = None,
    provider: Annotated[str, typer.Option(help="CPU, CUDA, TensorRT, XNNPACK…, or auto.")] = "auto",
    strict: Annotated[bool, typer.Option(help="Refuse a model of which a node falls back to the CPU.")] = False,
    pin: Annotated[bool, typer.Option(help="Pin the board's clocks meanwhile, and give them back.")] = False,
    power_mode: Annotated[int | None, typer.Option(min=0, help="Of nvpmodel, to measure in; pins, too.")] = None,
    meter: o.Meter = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Measure a model file on a board."""
    from edgeprune.cli._output import output

    with output("bench", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune import flow
        from edgeprune.cli._tables import measurement_view
        from edgeprune.values.plan import BenchPlan

        how = BenchPlan.named(plan, threads=threads, runtime=runtime, rate_hz=rate, meter=meter)
        how = replace(how, provider=provider, strict=strict)
        board = the_board(o.Board(device, expect_device_id), optional_config(config))
        m, info = flow.bench_file(file, board, how, pin=pin, power_mode=power_mode, listener=out.listener)
        data = {**flow.measured_data(m), "device": m.device, "environment": dict(m.environment)}
        out.show(data, lambda: measurement_view(m, info), f"{m.latency.p50_s:.6g}")
