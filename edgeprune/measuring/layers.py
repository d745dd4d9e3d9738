"""Session + Artifact + BenchPlan -> the time of each node and what ran it, in a pass of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeprune.devices.replies import clean_text
from edgeprune.exporting.module_names import modules_of
from edgeprune.measuring.runtime import START_S, choose_runtime, run_worker
from edgeprune.values.artifact import Artifact
from edgeprune.values.layer import LayerTime
from edgeprune.values.plan import BenchPlan

if TYPE_CHECKING:
    from edgeprune.devices.session import Session

RUNS = 20
"""More make onnxruntime's trace long; it is cut off at a million events."""
_SUFFIXES = ("_nchwc", "_quant", "_token_0")


def layer_times(session: Session, artifact: Artifact, plan: BenchPlan) -> tuple[LayerTime, ...]:
    """Profile a model on a board.

    Args:
        session: Of the board.
        artifact: An ONNX file; no other runtime tells.
        plan: Threads, provider and seed.

    Returns:
        Its nodes in the order in which they ran.
    """
    runtime = choose_runtime(session, artifact.format, plan.runtime)
    session.push(artifact.path, artifact.sha256)
    rows: list[Mapping[str, Any]] = []
    spec = {"kind": "layers", **model_spec(artifact, plan, runtime), "runs": RUNS, "seed": plan.seed}
    deadline_s = START_S + plan.max_duration_s
    run_worker(session, spec, lambda event: rows.extend(event.get("rows", ())), deadline_s, artifact.path.name)
    modules = modules_of(artifact.path) if artifact.format == "onnx" else {}
    return tuple(_layer(row, modules) for row in rows)


def model_spec(artifact: Artifact, plan: BenchPlan, runtime: str) -> dict[str, Any]:
    """Return the part of a run's spec that says what runs and by what."""
    return {
        "sha": artifact.sha256,
        "format": artifact.format,
        "runtime": runtime,
        "threads": plan.threads,
        "provider": plan.provider,
        "strict": plan.strict,
    }


def _layer(row: Mapping[str, Any], modules: Mapping[str, str]) -> LayerTime:
    name = clean_text(row["name"])
    plain = name
    for suffix in _SUFFIXES:
        plain = plain.removesuffix(suffix)
    module = modules.get(name) or modules.get(plain, "")
    return LayerTime(name, clean_text(row["op"]), clean_text(row["provider"]), int(row["ns"]) * 1e-9, module)


def fallback(layers: Sequence[LayerTime]) -> tuple[int, float]:
    """Return how many nodes ran on the CPU, and their share of the time of all."""
    total = sum(layer.time_s for layer in layers)
    mine = [layer for layer in layers if layer.provider == "CPU"]
    return len(mine), sum(layer.time_s for layer in mine) / total if total else 0.0
