"""`edgeprune deploy`: the whole story."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._run import run_command

File = Annotated[
    Path | None, typer.Option("--from", help="A float .onnx or .tflite file in place of the project's network.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be tried; touch no board.")]


def deploy(
    device: o.Device,
    expect_device_id: o.ExpectDeviceId = None,
    max_accuracy_drop: o.MaxAccuracyDrop = None,
    min_accuracy: o.MinAccuracy = None,
    max_latency: o.MaxLatency = None,
    max_p95_latency: o.MaxP95Latency = None,
    max_energy: o.MaxEnergy = None,
    max_size: o.MaxSize = None,
    max_memory: o.MaxMemory = None,
    minimize: o.Minimize = None,
    device_time: o.DeviceTime = None,
    trials: o.Trials = None,
    plan: o.Plan = None,
    source: File = None,
    dry_run: DryRun = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
    store: o.Store = None,
) -> None:
    """Prune, export, push, measure, choose and install the best variant for a board."""
    bounds = o.constraints(
        max_accuracy_drop, min_accuracy, max_latency, max_p95_latency, max_energy, max_size, max_memory
    )
    wanted = o.Wanted(minimize or [], bounds, trials, device_time, plan)
    sink = o.Sink(as_json, quiet, config, store, source)
    run_command("deploy", o.Board(device, expect_device_id), wanted, sink, install=True, dry_run=dry_run)
