"""Variants of one network -> their size and their speed on this machine, exported to ONNX, in interleaved rounds."""

from __future__ import annotations

import datetime
import platform
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

import edgeprune as ep
from edgeprune.measuring.bench import measure_repeat, summarise
from edgeprune.pruning import count_macs, count_params
from edgeprune.values.artifact import Artifact
from edgeprune.values.measurement import Measurement
from edgeprune.values.plan import PLANS

PACKAGES = ("torch", "onnx", "onnxruntime")
PLAN = PLANS["quick"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A network that was trained.

    Attributes:
        name: In the tables.
        model: The network.
        accuracy: On the test, in [0, 1].
    """

    name: str
    model: nn.Module
    accuracy: float


@dataclass(frozen=True, slots=True)
class Row:
    """What a variant costs.

    Attributes:
        variant: Which.
        params: Of the network.
        macs: Multiply-accumulates of one example.
        size_bytes: Of its fp32 ONNX file,
        packed_bytes: and of that file after zlib, level 9: what zeros save when the file is stored or sent.
        measurement: By onnxruntime, one thread, batch 1.
    """

    variant: Variant
    params: int
    macs: int
    size_bytes: int
    packed_bytes: int
    measurement: Measurement


def measured(variants: Sequence[Variant], example: Tensor) -> list[Row]:
    """Export and measure variants.

    Args:
        variants: Of one network.
        example: One example, batch first.

    Returns:
        Rows, in the order of the variants.
    """
    with TemporaryDirectory() as folder:
        spec = ep.ExportSpec(format="onnx", precision="fp32")
        paths = [Path(folder) / f"{index}.onnx" for index in range(len(variants))]
        pairs = zip(variants, paths, strict=True)
        artifacts = [ep.export(each.model.eval(), spec, example_inputs=(example,), path=path) for each, path in pairs]
        found = _measurements(artifacts)
        packed = [len(zlib.compress(path.read_bytes(), 9)) for path in paths]
    return [
        Row(each, count_params(each.model), count_macs(each.model, (example,)), artifact.size_bytes, small, measurement)
        for each, artifact, small, measurement in zip(variants, artifacts, packed, found, strict=True)
    ]


def _measurements(artifacts: Sequence[Artifact]) -> list[Measurement]:
    with ep.connect("local://") as session:
        rounds = [
            [measure_repeat(session, artifact, PLAN, index) for artifact in artifacts] for index in range(PLAN.repeats)
        ]
        return [
            summarise(artifact, PLAN, repeats, device="local", info=session.info)
            for artifact, repeats in zip(artifacts, zip(*rounds, strict=True), strict=True)
        ]


def latency(row: Row) -> str:
    """Return a row's median latency with its interval, in microseconds."""
    found = row.measurement.latency
    low, high = (1e6 * bound for bound in found.p50_ci_s)
    verdict = "" if row.measurement.verdict == "ok" else f" ({row.measurement.verdict})"
    return f"{1e6 * found.p50_s:.1f} µs [{low:.1f}, {high:.1f}]{verdict}"


def energy(row: Row) -> str:
    """Return a row's energy of one inference, or that no meter told it."""
    found = row.measurement.energy
    return f"{1e3 * found.per_inference_j:.3f} mJ ({found.source})" if found else "not measured"


def made() -> str:
    """Return when and with what a study was made."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"Made on {today} with {packages}, Python {platform.python_version()}, {platform.machine()}.\n"
