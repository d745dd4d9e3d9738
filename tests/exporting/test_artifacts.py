"""What comes out runs, agrees with the model, and is what its precision says."""

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgeprune.exporting import FileExporter, HostRunner, load_artifact, predict
from edgeprune.values.spec import ExportSpec

PRECISIONS = ("fp32", "int8", "fp16", "int8-dynamic")
WAYS = [(format_name, precision) for format_name in ("onnx", "tflite") for precision in PRECISIONS]


def test_model_itself_has_learned(digit_net, digits):
    inputs, targets = digits[1]
    with torch.no_grad():
        assert (digit_net(inputs).argmax(1) == targets).float().mean() > 0.95


@pytest.mark.parametrize(("way", "tolerance"), list(zip(WAYS, [1e-4, 2.0, 0.05, 2.0] * 2, strict=True)))
def test_every_artifact_gives_the_models_outputs_on_unseen_data(artifacts, digit_net, digits, way, tolerance):
    inputs, _ = digits[1]
    with torch.no_grad():
        expected = digit_net(inputs).numpy()
    (actual,) = predict(artifacts[way], [inputs.numpy()])
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() < tolerance
    assert (actual.argmax(1) == expected.argmax(1)).mean() >= 0.99


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_fewer_bits_make_a_smaller_file(artifacts, format_name):
    size = {precision: artifacts[format_name, precision].size_bytes for precision in PRECISIONS}
    assert max(size["int8"], size["int8-dynamic"]) < 0.45 * size["fp32"]
    assert size["fp16"] < 0.65 * size["fp32"]


@pytest.mark.parametrize("way", WAYS)
def test_artifact_describes_its_own_file(artifacts, way):
    artifact = artifacts[way]
    assert (artifact.format, artifact.precision) == way
    assert artifact.path.name == f"{way[1]}.{way[0]}"
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert [(spec.name, spec.shape, spec.dtype) for spec in artifact.inputs] == [("input_0", (1, 1, 8, 8), "float32")]
    assert [(spec.name, spec.shape, spec.dtype) for spec in artifact.outputs] == [("output_0", (1, 10), "float32")]


@pytest.mark.parametrize("way", WAYS)
def test_loading_a_file_tells_the_same_without_parity(artifacts, way):
    loaded, made = load_artifact(artifacts[way].path), artifacts[way]
    assert loaded.parity is None
    assert (loaded.sha256, loaded.inputs, loaded.outputs, loaded.opset) == (
        made.sha256, made.inputs, made.outputs, made.opset,
    )  # fmt: skip
    assert loaded.precision == ("unknown" if way == ("tflite", "int8-dynamic") else made.precision)


def test_only_the_artifacts_lie_in_their_folder(artifacts):
    folder = artifacts["onnx", "fp32"].path.parent
    assert {path.name for path in folder.iterdir()} == {f"{precision}.{name}" for name, precision in WAYS}


def test_batch_norm_is_folded_into_its_convolution(artifacts):
    graph = onnx.load(artifacts["onnx", "fp32"].path).graph
    operators = collections.Counter(node.op_type for node in graph.node)
    assert operators["Conv"] == 5
    assert set(operators) <= {"Conv", "Relu", "Add", "MaxPool", "Reshape", "Flatten", "Gemm"}


def test_onnx_int8_computes_in_integers(artifacts, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(artifacts["onnx", "int8"].path.read_bytes(), options)
    operators = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert operators["QLinearConv"] == 5
    assert operators["QLinearAdd"] == operators["QGemm"] == 1
    assert not {"Conv", "Gemm", "Add", "Relu"} & set(operators)


def test_onnx_int8_weights_have_a_scale_per_channel(artifacts):
    graph = onnx.load(artifacts["onnx", "int8"].path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    scales = {
        tuple(tensors[node.input[0]].dims): tuple(tensors[node.input[1]].dims)
        for node in graph.node
        if node.op_type == "DequantizeLinear" and len(getattr(tensors.get(node.input[0]), "dims", ())) == 4
    }
    assert scales[48, 24, 3, 3] == (48,)
    assert scales[96, 48, 1, 1] == (96,)


def test_tflite_int8_computes_in_integers(artifacts):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(artifacts["tflite", "int8"].path))
    ends = {d["index"] for d in [*interpreter.get_input_details(), *interpreter.get_output_details()]}
    types = {
        np.dtype(d["dtype"]).name
        for d in interpreter.get_tensor_details()
        if d["index"] not in ends and d["shape"].size
    }
    assert types <= {"int8", "int32"}
    per_channel = [len(d["quantization_parameters"]["scales"]) for d in interpreter.get_tensor_details()]
    assert {24, 48, 96} <= set(per_channel)


@pytest.mark.parametrize("way", WAYS)
def test_files_hold_no_path_of_the_machine(artifacts, way):
    content = artifacts[way].path.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


@pytest.mark.parametrize("way", [way for way in WAYS if way[1] in ("fp32", "int8")])
def test_inputs_and_outputs_keep_their_order_and_names(two_by_two_artifacts, two_by_two, way):
    artifact = two_by_two_artifacts[way]
    assert [(spec.name, spec.shape) for spec in artifact.inputs] == [("zeta", (1, 8)), ("alpha", (1, 3, 10))]
    assert [(spec.name, spec.shape) for spec in artifact.outputs] == [("output_0", (1, 10)), ("output_1", (1, 4))]
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(5, 8, generator=generator), torch.randn(5, 3, 10, generator=generator)
    with torch.no_grad():
        expected = two_by_two.eval()(x, y)
    outputs = predict(artifact, [x.numpy(), y.numpy()])
    tolerance = 1e-5 if way[1] == "fp32" else 0.1
    for actual, wanted in zip(outputs, expected.values(), strict=True):
        assert np.abs(actual - wanted.numpy()).max() < tolerance


def test_tflite_file_gets_fewer_bits_as_its_model_does(artifacts, digits, tmp_path):
    exporter = FileExporter(artifacts["tflite", "fp32"].path, calibration=digits[0])
    for precision in ("fp16", "int8", "int8-dynamic"):
        artifact = exporter.export(ExportSpec("tflite", precision), tmp_path / f"{precision}.tflite")
        assert artifact.sha256 == artifacts["tflite", precision].sha256
        assert artifact.parity.conversion_max_abs == 0


def test_runner_runs_one_batch(artifacts, digit_net):
    runner = HostRunner(artifacts["onnx", "fp32"])
    (output,) = runner.run([np.ones((1, 1, 8, 8), np.float32)])
    with torch.no_grad():
        expected = digit_net(torch.ones(1, 1, 8, 8)).numpy()
    assert np.abs(output - expected).max() < 1e-4
    assert runner.batch_size == 1
