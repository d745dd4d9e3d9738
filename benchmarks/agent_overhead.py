"""Is the agent's p50 that of a plain loop, and does reading the board 50 times a second move it?

All take turns in one run, each time in a fresh process.

    python benchmarks/agent_overhead.py [ROUNDS]

Prints, per runtime, the ratios of medians of each round (agent / plain loop, and agent at 50 Hz / agent), their median
and their range, and how much memory the agent's process has taken. The machine's own noise hits all sides alike; the
range shows how much of it is left. The TFLite file is torch's Conv2d(3, 8), Conv2d(8, 8), Conv2d(8, 8), each 3 x 3 with
ReLU, on 64 x 64, by litert-torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprune.devices import Session, connect
from edgeprune.measuring.bench import latency_spec
from edgeprune.measuring.metering import NO_POWER, Metering
from edgeprune.measuring.runtime import RUNTIMES_OF_FORMAT
from edgeprune.values.artifact import Artifact, TensorSpec
from edgeprune.values.plan import BenchPlan

ROUNDS, SECONDS = 10, 2.0
PLAN = BenchPlan(warmup_s=0.3, min_duration_s=SECONDS, max_duration_s=30.0, repeats=1)
TFLITE = Path(__file__).parents[1] / "tests" / "data" / "three_convolutions.tflite"

PLAIN_LOOP = """
import json, sys, time
import numpy as np

path, seconds = sys.argv[1], float(sys.argv[2])
if path.endswith(".onnx"):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    feed = {spec.name: np.random.RandomState(0).standard_normal(spec.shape).astype(np.float32)}

    def infer():
        session.run(None, feed)
else:
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    spec, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    x = np.random.RandomState(0).standard_normal(spec["shape"]).astype(np.float32)

    def infer():
        interpreter.set_tensor(spec["index"], x)
        interpreter.invoke()
        interpreter.get_tensor(out)

samples, until = [], time.perf_counter() + 0.3
while time.perf_counter() < until:
    infer()
until = time.perf_counter() + seconds
while time.perf_counter() < until:
    begin = time.perf_counter_ns()
    infer()
    samples.append(time.perf_counter_ns() - begin)
print(json.dumps(float(np.median(samples))))
"""
"""What somebody would write who wants to know how long an inference takes, one thread, random input."""


def conv_net(path: Path) -> Path:
    """Write a chain of convolutions that takes about a third of a millisecond: the shorter, the more overhead shows.

    Args:
        path: Where.

    Returns:
        The same path.
    """
    source = np.random.default_rng(0)
    nodes, constants, channels = [], [], 3
    for layer in range(4):
        weight = source.standard_normal((24, channels, 3, 3)).astype(np.float32) / 10
        constants.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]))
        channels = 24
    graph = helper.make_graph(
        nodes,
        "conv_net",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 24, 24])],
        [helper.make_tensor_value_info("x4", TensorProto.FLOAT, [1, 24, 24, 24])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def artifact(path: Path) -> Artifact:
    """Return what measuring its latency needs to know of a model file."""
    data, spec = path.read_bytes(), TensorSpec("x", (1,), "float32")
    return Artifact(path, path.suffix[1:], "fp32", hashlib.sha256(data).hexdigest(), len(data), (spec,), (spec,))


def plain_median_ns(path: Path) -> float:
    """Run the plain loop in a process of its own.

    Args:
        path: The model file.

    Returns:
        Its median, in nanoseconds.
    """
    command = [sys.executable, "-c", PLAIN_LOOP, str(path), str(SECONDS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return float(json.loads(done.stdout))


def agent_median_ns(session: Session, path: Path, period_s: float | None = None) -> float:
    """Measure by the agent.

    Args:
        session: Of the board.
        path: The model file.
        period_s: Between two readings of the board's state; None for what a measurement does.

    Returns:
        The median of one repeat, in nanoseconds.
    """
    model, samples = artifact(path), array("q")
    session.push(path, model.sha256)
    spec = Metering(NO_POWER, latency_spec(model, PLAN, RUNTIMES_OF_FORMAT[model.format][0])).spec
    if period_s is not None:
        spec["state_period_s"] = period_s
    session.run(spec, lambda event: samples.extend(event.get("ns", ())), 120.0)
    return statistics.median(samples)


def compare(session: Session, path: Path, rounds: int) -> None:
    """Take turns, the order changing from round to round, and print what came out."""
    sides = {
        "plain": lambda: plain_median_ns(path),
        "agent": lambda: agent_median_ns(session, path),
        "at 50 Hz": lambda: agent_median_ns(session, path, 0.02),
    }
    ratios: dict[str, list[float]] = {"agent / plain": [], "at 50 Hz / agent": []}
    for number in range(rounds):
        order = [*sides][number % 3 :] + [*sides][: number % 3]
        found = {name: sides[name]() for name in order}
        ratios["agent / plain"].append(found["agent"] / found["plain"])
        ratios["at 50 Hz / agent"].append(found["at 50 Hz"] / found["agent"])
        times = "   ".join(f"{name} {found[name] / 1e3:9.2f} µs" for name in sides)
        sys.stdout.write(f"  {times}   {'   '.join(f'{name} {values[-1]:.4f}' for name, values in ratios.items())}\n")
        sys.stdout.flush()
    for name, values in ratios.items():
        low, high = min(values), max(values)
        sys.stdout.write(f"{path.name}: {name} {statistics.median(values):.4f}, from {low:.4f} to {high:.4f}\n")
    sys.stdout.write("\n")


def children_memory_mib() -> list[float]:
    """Return the peak resident memory of each child of this process."""
    peaks = []
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return peaks


def main() -> None:
    """Compare on a convolutional network of each format."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder, connect(f"local://?root={folder}/agent") as session:
        for path in (conv_net(Path(folder) / "conv_net.onnx"), TFLITE):
            compare(session, path, rounds)
        memory = ", ".join(f"{peak:.1f} MiB" for peak in children_memory_mib())
        sys.stdout.write(f"peak resident memory of the agent: {memory}\n")


if __name__ == "__main__":
    main()
