"""Are two runs of one model called the same, and is a slowdown of 5 % called slower?

    python benchmarks/comparisons.py [PAIRS]

Simulated: ten times PAIRS pairs of three repeats each, for several amounts of noise between and within processes, a
drift over the rounds, and rare slow runs. Real: PAIRS (50) rounds on this machine, in each of which a chain of 20 equal
products, the same chain again, and one of 21 are measured in turns, three repeats each; then ten such rounds while one
process per processor computes without end. Printed is how often `compare` called two the same, different, or neither,
and how often the intervals by which variants are ranked (edgeprune.choosing) lay apart, and which way round.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from agent_overhead import artifact
from onnx import TensorProto, helper, numpy_helper

from edgeprune.choosing.axes import Axis
from edgeprune.devices import Session, connect
from edgeprune.measuring import compare, measure_repeat, summarise
from edgeprune.values.artifact import Artifact
from edgeprune.values.device import DeviceInfo
from edgeprune.values.measurement import Measurement, Repeat
from edgeprune.values.plan import BenchPlan

PAIRS, LOADED_PAIRS, SIMULATED_FACTOR, SLOWDOWN = 50, 10, 10, 1.05
PLAN = BenchPlan("custom", warmup_s=0.1, min_duration_s=0.9, max_duration_s=6.0, min_runs=130, cool_s=0.0)
NOISES = {
    "within 2 %": {"within": 0.02},
    "within 10 %": {"within": 0.10},
    "between 0.5 %, within 2 %": {"between": 0.005, "within": 0.02},
    "between 2 %, within 2 %": {"between": 0.02, "within": 0.02},
    "between 5 %, within 10 %": {"between": 0.05, "within": 0.10},
    "drift 3 %, between 0.5 %, within 2 %": {"drift": 0.03, "between": 0.005, "within": 0.02},
    "1 in 50 runs slow, between 1 %": {"between": 0.01, "within": 0.02, "slow": 0.02},
}
"""Standard deviations in logarithms; `drift` is from round to round, the same for all that are measured in turns."""


def simulated_repeats(
    source: np.random.Generator, rounds: np.ndarray, factor: float, noise: dict[str, float]
) -> list[Repeat]:
    """Draw what three processes of one model would measure.

    Args:
        source: Of randomness.
        rounds: Logarithm of the machine's slowness in each round, shape (3,).
        factor: The model's latency, relative.
        noise: A value of `NOISES`.

    Returns:
        Repeats of 50 samples each around 1 ms.
    """
    repeats = []
    for index, slowness in enumerate(rounds):
        process = slowness + source.normal(0, noise.get("between", 0.0))
        samples = 1e6 * factor * np.exp(process + source.normal(0, noise["within"], 50))
        samples[source.random(50) < noise.get("slow", 0.0)] *= 5
        repeats.append(made_repeat(samples, index))
    return repeats


def made_repeat(samples: np.ndarray, index: int) -> Repeat:
    """Return a repeat of a made-up process."""
    facts = {"runtime_version": "1", "providers": ("CPU",), "boot_id": "b", "started_utc": ""}
    return Repeat(index, array("q", samples.astype(int).tolist()), 0, 0, 0, True, None, None, **facts)


def simulate(noise: dict[str, float], count: int) -> Iterator[tuple[Measurement, Measurement, Measurement]]:
    """Yield triples of a model, the same again, and one that is slower by 5 %."""
    source = np.random.default_rng(0)
    here = Path(__file__)
    what = artifact(here)
    for _ in range(count):
        rounds = source.normal(0, noise.get("drift", 0.0), 3)
        yield tuple(
            _summary(replace(what, format="onnx"), simulated_repeats(source, rounds, factor, noise))
            for factor in (1.0, 1.0, SLOWDOWN)
        )


_NOWHERE = DeviceInfo("simulated", "b", "", "", "", "", "", "", "", 1, None, 0, None, ())


def _summary(what: Artifact, repeats: list[Repeat]) -> Measurement:
    return summarise(what, PLAN, repeats, device="simulated", info=_NOWHERE)


def chain(path: Path, length: int, size: int = 96) -> Path:
    """Write a chain of equal matrix products: its latency grows with its length.

    Args:
        path: Where.
        length: Products.
        size: Of the square matrices.

    Returns:
        The same path.
    """
    nodes = [helper.make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"]) for i in range(length)]
    value = helper.make_tensor_value_info
    ends = [value(name, TensorProto.FLOAT, [size, size]) for name in ("x0", f"x{length}")]
    constants = [numpy_helper.from_array(np.eye(size, dtype=np.float32) * 0.9, "w")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def real(session: Session, folder: Path, count: int) -> Iterator[tuple[Measurement, Measurement, Measurement]]:
    """Yield triples that were measured in turns on this machine."""
    models = [artifact(chain(folder / f"{length}.onnx", length)) for length in (20, 21)]
    order = (models[0], models[0], models[1])
    for _ in range(count):
        repeats: list[list[Repeat]] = [[], [], []]
        for index in range(PLAN.repeats):
            for mine, model in zip(repeats, order, strict=True):
                mine.append(measure_repeat(session, model, PLAN, index))
        yield tuple(
            summarise(model, PLAN, mine, device="local", info=session.info)
            for mine, model in zip(repeats, order, strict=True)
        )


def tell(title: str, triples: Iterator[tuple[Measurement, Measurement, Measurement]]) -> None:
    """Print how the pairs of some triples came out."""
    equal: collections.Counter[str] = collections.Counter()
    slower: collections.Counter[str] = collections.Counter()
    ranked: collections.Counter[str] = collections.Counter()
    verdicts: collections.Counter[str] = collections.Counter()
    axis = Axis("latency")
    for first, again, slow in triples:
        verdicts.update(m.verdict for m in (first, again, slow))
        equal[compare(first, again).outcome] += 1
        slower[compare(first, slow).outcome] += 1
        conclusive = all(m.verdict != "inconclusive" for m in (first, again, slow))
        if conclusive:
            ranked["conclusive"] += 1
            ranked["A/A apart"] += axis.better(first, again) or axis.better(again, first)
            ranked["A/B right"] += axis.better(first, slow)
            ranked["A/B wrong"] += axis.better(slow, first)
    called = slower["slower"] + slower["same"] + slower["faster"]
    share = f"{100 * slower['slower'] / called:.1f} % of {called} called" if called else "none called"
    sys.stdout.write(
        f"{title}\n  A/A {dict(equal)}\n  A/B {dict(slower)}: {share}\n  ranking {dict(ranked)}\n"
        f"  verdicts {dict(verdicts)}\n"
    )
    sys.stdout.flush()


def burn() -> None:
    """Compute without end."""
    while True:
        pass


def main() -> None:
    """Simulate, then measure on this machine, then under load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pairs", type=int, nargs="?", default=PAIRS)
    pairs = parser.parse_args().pairs
    for title, noise in NOISES.items():
        tell(f"simulated, {title}", simulate(noise, SIMULATED_FACTOR * pairs))
    with tempfile.TemporaryDirectory() as name, connect(f"local://?root={name}/agent") as session:
        tell("this machine", real(session, Path(name), pairs))
        burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 1)]
        for burner in burners:
            burner.start()
        tell("this machine with all processors busy", real(session, Path(name), min(pairs, LOADED_PAIRS)))
        for burner in burners:
            burner.kill()


if __name__ == "__main__":
    main()
