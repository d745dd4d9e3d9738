"""Why each variant of a run won or lost, by hand."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from edgeprune.choosing import pareto
from edgeprune.errors import UsageError
from edgeprune.flow.explanation import explain, fates
from edgeprune.flow.result import RunResult
from edgeprune.values.artifact import Artifact
from edgeprune.values.measurement import LatencyStats, Measurement
from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import ExportSpec, PruneSpec
from edgeprune.values.variant import Variant


def measured(ratio: float, *, ms: float, accuracy: float, verdict: str = "ok", why: str = "") -> Measurement:
    artifact = Artifact(Path("m.onnx"), "onnx", "fp32", f"{round(100 * ratio):064d}", 1000, (), ())
    prune = PruneSpec(criterion="taylor", ratio=ratio) if ratio else None
    variant = Variant(prune, ExportSpec(), artifact, 1, 1, accuracy)
    p50, low, high = 1e-3 * ms, 0.98e-3 * ms, 1.02e-3 * ms
    latency = LatencyStats(500, p50, (low, high), None, None, None, p50, low, high, 0.1, 0.0, 0, 0.1, 0.1, array("q"))
    return Measurement(artifact, "d", "d", BenchPlan(), latency, None, None, verdict, why, None, {}, {}, variant)


def result_of(*measurements: Measurement) -> RunResult:
    front = pareto(measurements, minimize=["latency", "size"], constraints=["accuracy_drop <= 1pt"])
    return RunResult("run", "board", front, front.choose())


def test_each_loser_is_told_what_it_lost_by():
    dense, winner = measured(0, ms=4.0, accuracy=0.9), measured(0.5, ms=2.0, accuracy=0.9)
    wrong = measured(0.75, ms=1.0, accuracy=0.85)
    doubtful = measured(0.25, ms=3.0, accuracy=0.9, verdict="inconclusive", why="the board was busy")
    twin = measured(0.51, ms=2.01, accuracy=0.9)

    found = fates(result_of(dense, winner, wrong, doubtful, twin))

    assert [found[0].outcome, *(fate.outcome for fate in found[1:])] == ["won", *["lost"] * 4]
    why = {fate.id: fate.why for fate in found}
    assert why[wrong.id] == "breaks a constraint: accuracy_drop is 5.00 pt, 4.00 pt too much"
    assert why[doubtful.id] == "its measurement is inconclusive: the board was busy"
    assert found[0].id == winner.id
    assert why[dense.id] == "latency 4 ms against the winner's 2 ms"
    assert why[twin.id] == "ties with the winner within the uncertainty, so the order of their names decided"


def test_without_a_project_a_run_cannot_be_found_and_the_message_says_so():
    with pytest.raises(UsageError, match="'abcd' is no folder, and there is no project"):
        explain(None, "abcd")
    with pytest.raises(UsageError, match="There is no project"):
        explain(None, None)
