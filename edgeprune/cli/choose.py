"""`edgeprune choose`: pick again from what is stored."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeprune.cli import _options as o

Run = Annotated[str | None, typer.Argument(help="A run's id or its beginning; the newest by default.")]


def choose(
    run: Run = None,
    max_accuracy_drop: o.MaxAccuracyDrop = None,
    min_accuracy: o.MinAccuracy = None,
    max_latency: o.MaxLatency = None,
    max_p95_latency: o.MaxP95Latency = None,
    max_energy: o.MaxEnergy = None,
    max_size: o.MaxSize = None,
    max_memory: o.MaxMemory = None,
    minimize: o.Minimize = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
    store: o.Store = None,
) -> None:
    """Choose from stored measurements under other constraints; needs no device."""
    from edgeprune.cli._run import choose_command

    bounds = o.constraints(
        max_accuracy_drop, min_accuracy, max_latency, max_p95_latency, max_energy, max_size, max_memory
    )
    choose_command(run, o.Wanted(minimize or [], bounds), o.Sink(as_json, quiet, config, store))
