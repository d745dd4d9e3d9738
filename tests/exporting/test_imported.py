"""Model files of other origin, written with fewer bits without their torch model."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprune.errors import ArtifactError, UsageError
from edgeprune.exporting import export_file, load_artifact, predict
from edgeprune.values.spec import ExportSpec


def perceptron(batch=1, opset=17, names=("pixels:0", "scores")):
    """As other tools write it: no node names, an input with a colon, weights also listed as graph inputs."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(0, 0.1, shape).astype(np.float32) for shape in ((12, 256), (256, 4)))
    weights = [numpy_helper.from_array(array, name) for name, array in (("w1", first), ("w2", second))]
    nodes = [
        helper.make_node("MatMul", [names[0], "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], [names[1]]),
    ]
    given = helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [batch, 12])
    listed = helper.make_tensor_value_info("w1", TensorProto.FLOAT, [12, 256])
    made = helper.make_tensor_value_info(names[1], TensorProto.FLOAT, [batch, 4])
    graph = helper.make_graph(nodes, "g", [given, listed], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "foreign.onnx"
    onnx.save(perceptron(), path)
    return path


def rows(n=4, size=32):
    generator = np.random.default_rng(1)
    return [(generator.normal(size=(size, 12)).astype(np.float32), None) for _ in range(n)]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-dynamic", "int8-mixed"])
@pytest.mark.parametrize("batch", [1, "n"])
def test_foreign_file_gets_fewer_bits_and_keeps_its_ends(tmp_path, precision, batch):
    onnx.save(perceptron(batch), tmp_path / "foreign.onnx")
    spec = ExportSpec(precision=precision)
    artifact = export_file(tmp_path / "foreign.onnx", spec, calibration=rows(), path=tmp_path / "m.onnx")
    given = load_artifact(tmp_path / "foreign.onnx")
    assert (artifact.inputs, artifact.outputs) == (given.inputs, given.outputs)
    assert artifact.parity.conversion_max_abs == 0
    assert artifact.parity.top1_agreement_ratio > 0.95
    assert artifact.size_bytes < given.size_bytes
    (x, _), *_ = rows()
    assert np.abs(predict(artifact, [x])[0] - predict(given, [x])[0]).max() < 0.3


def test_foreign_file_is_written_in_an_older_operator_set(foreign, tmp_path):
    artifact = export_file(foreign, ExportSpec(opset=13), path=tmp_path / "m.onnx")
    assert artifact.opset == 13
    x = np.ones((1, 12), np.float32)
    assert np.allclose(predict(artifact, [x])[0], predict(load_artifact(foreign), [x])[0], atol=1e-6)


def test_static_int8_of_a_file_needs_data_and_dynamic_does_not(foreign, tmp_path):
    with pytest.raises(UsageError, match=r"int8 needs calibration data.*int8-dynamic"):
        export_file(foreign, ExportSpec(precision="int8"), path=tmp_path / "m.onnx")
    artifact = export_file(foreign, ExportSpec(precision="int8-dynamic"), path=tmp_path / "m.onnx")
    assert artifact.parity.n_inputs == 16


def test_file_that_has_lost_bits_already_is_refused(foreign, tmp_path):
    reduced = export_file(foreign, ExportSpec(precision="int8-dynamic"), path=tmp_path / "d.onnx")
    with pytest.raises(ArtifactError, match="is not a float32 model: its precision is int8-dynamic"):
        export_file(reduced.path, ExportSpec(precision="fp16"), path=tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "tflite"}, "is onnx, not tflite"),
        ({"dynamic_batch": True}, "stay as they are"),
        ({"input_names": ("x",)}, "stay as they are"),
    ],
)
def test_what_a_file_cannot_become_is_refused(foreign, tmp_path, options, words):
    spec = ExportSpec(**options)
    with pytest.raises(UsageError, match=words):
        export_file(foreign, spec, path=tmp_path / f"m.{spec.format}")


def test_open_dimension_besides_the_batch_is_refused_by_name(tmp_path):
    model = perceptron()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(ArtifactError, match=r"'pixels:0' of .*open\.onnx has the open shape"):
        export_file(tmp_path / "open.onnx", ExportSpec(precision="fp16"), path=tmp_path / "m.onnx")


def test_a_file_is_exported_without_torch(foreign, tmp_path):
    # onnxruntime's own shape inference, which the quantizers use, imports torch where it is installed.
    code = f"""
import sys
from pathlib import Path
from edgeprune import flow
from edgeprune.values.spec import ExportSpec
flow.export_file(Path({str(foreign)!r}), ExportSpec(precision="fp16"), Path({str(tmp_path / "m.onnx")!r}))
assert not [name for name in ("torch", "litert_torch", "jax") if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
