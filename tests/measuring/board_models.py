"""Small models for tests of what runs on a board; tests/data/linear_relu.tflite is torch's relu(Linear(4, 3))."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprune.values.artifact import Artifact, TensorSpec

TFLITE = Path(__file__).parents[1] / "data" / "linear_relu.tflite"


def _save(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def weights(size=4):
    return (np.arange(size * size, dtype=np.float32).reshape(size, size) % 7 - 3) / 4


def linear(path, batch="N", size=4):
    """y = x @ weights(size)."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return _save(path, nodes, [("x", TensorProto.FLOAT, [batch, size])], [("y", [batch, size])], [("w", weights(size))])


def square_root(path):
    """y = sqrt(x - 100): NaN for standard normal inputs."""
    nodes = [helper.make_node("Sub", ["x", "c"], ["z"]), helper.make_node("Sqrt", ["z"], ["y"])]
    return _save(path, nodes, [("x", TensorProto.FLOAT, ["N", 4])], [("y", ["N", 4])], [("c", np.float32(100))])


def total(path):
    """y = sum(x): no row per example."""
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    return _save(path, nodes, [("x", TensorProto.FLOAT, ["N", 4])], [("y", [])])


def two_in_two_out(path):
    """s = a + b, d = a - b; the second input is int64."""
    nodes = [
        helper.make_node("Cast", ["b"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "f"], ["s"]),
        helper.make_node("Sub", ["a", "f"], ["d"]),
    ]
    inputs = [("a", TensorProto.FLOAT, ["N", 2]), ("b", TensorProto.INT64, ["N", 2])]
    return _save(path, nodes, inputs, [("s", ["N", 2]), ("d", ["N", 2])])


def deep(path, layers=12, size=384):
    """A chain of products that takes milliseconds."""
    nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", "w"], [f"x{i + 1}"]) for i in range(layers)]
    constant = np.eye(size, dtype=np.float32) * 0.9
    name = f"x{layers}"
    return _save(path, nodes, [("x", TensorProto.FLOAT, [size, size])], [(name, [size, size])], [("w", constant)])


def artifact(path, precision="fp32"):
    """The Artifact of one of the files above."""
    data = Path(path).read_bytes()
    if str(path).endswith(".tflite"):
        inputs, outputs = [TensorSpec("x", (1, 4), "float32")], [TensorSpec("y", (1, 3), "float32")]
    else:
        graph = onnx.load_from_string(data).graph
        inputs, outputs = [_spec(value) for value in graph.input], [_spec(value) for value in graph.output]
    sha256, suffix = hashlib.sha256(data).hexdigest(), Path(path).suffix[1:]
    return Artifact(Path(path), suffix, precision, sha256, len(data), tuple(inputs), tuple(outputs))


def _spec(value):
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return TensorSpec(value.name, shape, {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}[kind.elem_type])
