"""Model files of any origin: described, checked, run; and refused when they are none."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeprune.errors import ArtifactError, DataError
from edgeprune.exporting import HostRunner, load_artifact, predict, verify_artifact

DATA = Path(__file__).parents[1] / "data"


def foreign_model(batch="batch", extra=()):
    """A file as other tools write it: doubles its input; no parity, open batch, opset 13."""
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image:0", "two"], ["doubled"])],
        "foreign",
        [helper.make_tensor_value_info("image:0", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [batch, 3])],
        [two, *extra],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "foreign.onnx"
    onnx.save(foreign_model(), path)
    return path


def test_foreign_file_is_described_and_runs(foreign):
    artifact = load_artifact(str(foreign))
    assert (artifact.format, artifact.precision, artifact.opset, artifact.parity) == ("onnx", "fp32", 13, None)
    assert [(spec.name, spec.shape) for spec in artifact.inputs] == [("image:0", (-1, 3))]
    x = np.arange(120, dtype=np.float32).reshape(40, 3)
    assert np.array_equal(predict(artifact, [x])[0], 2 * x)


def test_precision_of_mixed_weights_is_unknown(tmp_path):
    table = helper.make_tensor("table", TensorProto.INT8, [2], [1, 2])
    onnx.save(foreign_model(extra=[table]), tmp_path / "m.onnx")
    assert load_artifact(tmp_path / "m.onnx").precision == "unknown"


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize("content", [b"not a model", b"\0" * 4096, b"\x1c\0\0\0TFL3" + b"\xff" * 400])
def test_bytes_that_are_no_model_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"m\.{suffix} is not a") as caught:
        load_artifact(path)
    assert caught.value.next_step
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        load_artifact(path)


@pytest.fixture
def whole(tmp_path):
    """A whole file of each format."""
    onnx.save(foreign_model(), tmp_path / "whole.onnx")
    return {"onnx": tmp_path / "whole.onnx", "tflite": DATA / "three_convolutions.tflite"}


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_cut_file_is_refused(whole, tmp_path, suffix, share):
    content = whole[suffix].read_bytes()
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match="is not a whole"):
        load_artifact(path)


def test_format_is_checked_against_the_suffix(whole, tmp_path):
    for source, suffix in (("onnx", "tflite"), ("tflite", "onnx")):
        path = tmp_path / f"m.{suffix}"
        path.write_bytes(whole[source].read_bytes())
        with pytest.raises(ArtifactError, match=rf"m\.{suffix} is not a"):
            load_artifact(path)


def test_missing_file_folder_and_other_suffix_are_refused(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    for name, words in (("no.onnx", "does not exist"), ("folder.onnx", "cannot be read"), ("m.pt", "neither .onnx")):
        with pytest.raises(ArtifactError, match=words):
            load_artifact(tmp_path / name)


def test_weights_in_another_file_are_refused(tmp_path):
    table = onnx.numpy_helper.from_array(np.zeros(2000, np.float32), "table")
    onnx.save(
        foreign_model(extra=[table]),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    with pytest.raises(ArtifactError, match="weights are in another file"):
        load_artifact(tmp_path / "m.onnx")


def test_changed_file_is_noticed_before_it_runs(foreign):
    artifact = load_artifact(foreign)
    verify_artifact(artifact)
    foreign.write_bytes(foreign.read_bytes()[:-1] + b"\0")
    for use in (verify_artifact, HostRunner, lambda a: predict(a, [np.zeros((1, 3), np.float32)])):
        with pytest.raises(ArtifactError, match="has changed"):
            use(artifact)
    foreign.unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        verify_artifact(artifact)


def test_operator_that_this_host_lacks_is_said_when_it_is_run(tmp_path):
    model = foreign_model()
    model.graph.node[0].op_type, model.graph.node[0].domain = "Unheard", "org.nowhere"
    model.opset_import.append(helper.make_opsetid("org.nowhere", 1))
    onnx.save(model, tmp_path / "m.onnx")
    artifact = load_artifact(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"onnxruntime cannot load .*m\.onnx"):
        HostRunner(artifact)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([np.zeros((2, 4), np.float32)], r"takes float32 \(-1, 3\); float32 \(2, 4\) given"),
        ([np.zeros((2, 3), np.complex64)], "complex64"),
        ([np.zeros((2, 3), np.float32)] * 2, "2 inputs given, the model takes 1"),
        ([np.zeros((0, 3), np.float32)], r"hold \[0\] examples"),
        ([], "0 inputs given, the model takes 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(foreign, inputs, words):
    with pytest.raises(DataError, match=words):
        predict(load_artifact(foreign), inputs)


def test_output_without_a_batch_dimension_cannot_be_joined(tmp_path):
    model = foreign_model(batch=1)
    model.graph.node.append(helper.make_node("ReduceSum", ["doubled"], ["total"], keepdims=0))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
    onnx.save(model, tmp_path / "m.onnx")
    artifact = load_artifact(tmp_path / "m.onnx")
    assert HostRunner(artifact).run([np.ones((1, 3), np.float32)])[0] == 6
    with pytest.raises(ArtifactError, match=r"'total'.*no batch dimension"):
        predict(artifact, [np.ones((2, 3), np.float32)])


def test_last_batch_is_filled_and_the_fill_is_dropped(tmp_path):
    onnx.save(foreign_model(batch=4), tmp_path / "m.onnx")
    x = np.arange(30, dtype=np.float32).reshape(10, 3)
    assert np.array_equal(predict(load_artifact(tmp_path / "m.onnx"), [x])[0], 2 * x)


def test_artifact_of_an_unknown_format_is_refused(foreign):
    artifact = dataclasses.replace(load_artifact(foreign), format="tensorrt")
    with pytest.raises(Exception, match="Unknown artifact format 'tensorrt'"):
        HostRunner(artifact)


def test_importing_the_stage_and_loading_a_file_need_no_torch_and_no_converter(foreign):
    heavy = ("torch", "litert_torch", "jax", "onnx", "onnxruntime", "ai_edge_litert", "onnxscript")
    code = f"""
import sys
import edgeprune.exporting
assert not [name for name in {heavy} if name in sys.modules], "importing the stage"
from edgeprune.exporting import load_artifact, predict
load_artifact({str(foreign)!r})
assert not [name for name in ("torch", "litert_torch", "jax", "ai_edge_litert") if name in sys.modules], "loading"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
