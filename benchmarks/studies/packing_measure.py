"""Dense, pruned and shared networks -> their files, sizes, accuracies, and how long the agent takes to unpack."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from data import Data
from torch import nn

import edgeprune as ep
from edgeprune import exporting, pruning
from edgeprune.exporting import load_artifact
from edgeprune.exporting.packing import pack_artifact
from edgeprune.pruning.clustering import cluster
from edgeprune.values.artifact import Artifact
from edgeprune.values.packing import Packed

ROUNDS = 5
BITS = (3, 4, 5)


@dataclass(frozen=True, slots=True)
class Stage:
    """A network after one stage.

    Attributes:
        accuracy: Of its ONNX file over the test images, by onnxruntime.
        nonzero: Weights and biases that are not zero.
        file_bytes: Of the ONNX file.
        packed_bytes: Of the packed file.
    """

    accuracy: float
    nonzero: int
    file_bytes: int
    packed_bytes: int


def measure(dense: nn.Module, pruned: nn.Module, shared: nn.Module, images: Data, stem: Path) -> dict[str, Any]:
    """Export, pack, evaluate and unpack.

    Args:
        dense: The trained network,
        pruned: with zeros,
        shared: and with shared weights.
        images: For the test.
        stem: Path to which the files' endings are added.

    Returns:
        What the table says.
    """
    stages, packed, curve = {}, None, []
    for name, model in {"dense": dense, "pruned": pruned, "shared": shared}.items():
        spec = ep.ExportSpec(dynamic_batch=True)
        artifact = ep.export(model, spec, example_inputs=(images.x[:1],), path=stem.with_suffix(f".{name}.onnx"))
        packed = pack_artifact(artifact)
        nonzero = sum(int(p.count_nonzero()) for p in model.parameters())
        accuracy = _accuracy(artifact, images)
        curve = _curve(artifact, images) if name == "pruned" else curve
        stages[name] = Stage(accuracy, nonzero, artifact.size_bytes, packed.size_bytes)
    assert packed is not None
    params = pruning.count_params(dense)
    return {
        "params": params,
        "fp32_bytes": 4 * params,
        "ratio": 4 * params / stages["shared"].packed_bytes,
        "stages": {name: {key: getattr(stage, key) for key in stage.__slots__} for name, stage in stages.items()},
        "curve": curve,
        **_unpacking(packed),
    }


def _accuracy(artifact: Artifact, images: Data) -> float:
    (outputs,) = exporting.predict(artifact, [images.test_x.numpy()])
    return float(np.mean(outputs.argmax(1) == images.test_y.numpy()))


def _curve(pruned: Artifact, images: Data) -> list[dict[str, Any]]:
    """Return size and accuracy with as many bits in every tensor, the values those of k-means, not trained."""
    rows = []
    for bits in BITS:
        model = onnx.load(pruned.path)
        for tensor in model.graph.initializer:
            if len(tensor.dims) > 1:
                tensor.raw_data = _clustered(tensor.raw_data, 1 << bits)
        path = pruned.path.with_suffix(f".{bits}bits.onnx")
        onnx.save(model, path)
        artifact = load_artifact(path)
        rows.append(
            {"bits": bits, "bytes": pack_artifact(artifact).size_bytes, "accuracy": _accuracy(artifact, images)}
        )
    return rows


def _clustered(content: bytes, count: int) -> bytes:
    weights = np.frombuffer(content, np.float32).copy()
    clusters = cluster(weights[weights != 0], count)
    weights[weights != 0] = clusters.centroids[clusters.codes]
    return weights.tobytes()


def _unpacking(packed: Packed) -> dict[str, Any]:
    """Return how long the agent takes: the request's wall time, into a fresh store, writing to disk included."""
    times = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as root:
            os.environ["EDGEPRUNE_AGENT_ROOT"] = root
            with ep.connect("local://") as session:
                session.push(packed.path, packed.sha256)
                started = time.perf_counter()
                session.request("store.unpack", sha=packed.sha256, into=packed.unpacked_sha256)
                times.append(time.perf_counter() - started)
    return {"unpack_s": statistics.median(times), "unpack_slowest_s": max(times), "unpack_rounds": ROUNDS}
