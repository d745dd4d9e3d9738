"""Is the agent's p50 that of a plain loop? Both take turns in one run, each time in a fresh process.

    python benchmarks/agent_overhead.py [ROUNDS]

Prints, per runtime, the ratio of medians of each round (agent / plain loop), their median and their range. The
machine's own noise hits both sides alike; the range shows how much of it is left. The TFLite file is torch's
Conv2d(3, 8), Conv2d(8, 8), Conv2d(8, 8), each 3 x 3 with ReLU, on 64 x 64, by litert-torch.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprune.devices import Session, connect
from edgeprune.measuring import measure_repeat
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
    """Write a chain of convolutions that takes about a millisecond.

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
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 48, 48])],
        [helper.make_tensor_value_info("x4", TensorProto.FLOAT, [1, 24, 48, 48])],
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


def agent_median_ns(session: Session, path: Path) -> float:
    """Measure by the agent.

    Args:
        session: Of the board.
        path: The model file.

    Returns:
        The median of one repeat, in nanoseconds.
    """
    return statistics.median(measure_repeat(session, artifact(path), PLAN, 1).samples_ns)


def compare(session: Session, path: Path, rounds: int) -> None:
    """Take turns, the first one changing from round to round, and print what came out."""
    ratios = []
    for number in range(rounds):
        if number % 2:
            plain, agent = plain_median_ns(path), agent_median_ns(session, path)
        else:
            agent, plain = agent_median_ns(session, path), plain_median_ns(path)
        ratios.append(agent / plain)
        sys.stdout.write(f"  agent {agent / 1e3:9.2f} µs   plain {plain / 1e3:9.2f} µs   ratio {ratios[-1]:.4f}\n")
    low, high = min(ratios), max(ratios)
    sys.stdout.write(f"{path.name}: ratio {statistics.median(ratios):.4f}, from {low:.4f} to {high:.4f}\n\n")


def main() -> None:
    """Compare on a convolutional network of each format."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder, connect(f"local://?root={folder}/agent") as session:
        for path in (conv_net(Path(folder) / "conv_net.onnx"), TFLITE):
            compare(session, path, rounds)


if __name__ == "__main__":
    main()
