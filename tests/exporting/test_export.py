"""What may be asked of an export, what is refused, and what is left behind."""

import copy
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgeprune.errors import ArtifactError, DataError, ExportError, MissingExtra, ModelError, StorageError, UsageError
from edgeprune.exporting import Exporter, export, export_all, predict
from edgeprune.exporting.to_onnx import OnnxConverter
from edgeprune.exporting.to_tflite import TfliteConverter
from edgeprune.values.spec import ExportSpec

ONE = (torch.ones(1, 4),)
CONVERTERS = {"onnx": OnnxConverter, "tflite": TfliteConverter}


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3))


def loader(n_batches=2):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 4, generator=generator), torch.zeros(8)) for _ in range(n_batches)]


def make(path, model=None, inputs=ONE, **options):
    calibration, listener = options.pop("calibration", None), options.pop("listener", lambda event: None)
    spec = ExportSpec(format=path.suffix[1:], **options)
    model = mlp() if model is None else model
    return export(model, spec, example_inputs=inputs, calibration=calibration, path=path, listener=listener)


@pytest.fixture(scope="module")
def from_training(tmp_path_factory):
    """A model half in training mode, its state and flags before, and its int8 artifact."""
    model = mlp().train()
    model[1].eval()
    before, flags = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    path = tmp_path_factory.mktemp("training") / "m.onnx"
    return model, before, flags, make(path, model, precision="int8", calibration=loader())


def test_model_is_left_as_found(from_training):
    model, before, flags, _ = from_training
    assert [module.training for module in model.modules()] == flags
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_model_in_training_is_exported_in_eval_mode(from_training):
    model, _, _, artifact = from_training
    (inputs, _), *_ = loader()
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(inputs).numpy()
    assert np.abs(predict(artifact, [inputs.numpy()])[0] - expected).max() < 0.05


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def twice(request, tmp_path_factory):
    """All precisions of one network, made twice from equal models; and how often the converter ran."""
    calls, convert = [], CONVERTERS[request.param].convert

    def counted(self, *arguments):
        calls.append(1)
        return convert(self, *arguments)

    specs = [ExportSpec(format=request.param, precision=precision) for precision in ("fp32", "fp16", "int8")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CONVERTERS[request.param], "convert", counted)
        runs = [
            export_all(
                mlp(), specs, example_inputs=ONE, calibration=iter(loader()), folder=tmp_path_factory.mktemp("run")
            )
            for _ in range(2)
        ]
    return runs, len(calls)


def test_two_exports_give_the_same_bytes(twice):
    (first, second), _ = twice
    assert [artifact.sha256 for artifact in first] == [artifact.sha256 for artifact in second]
    assert len({artifact.sha256 for artifact in first}) == 3


def test_all_precisions_of_a_model_share_one_conversion(twice):
    runs, n_conversions = twice
    assert n_conversions == len(runs)


def test_two_specs_for_one_file_are_refused(tmp_path):
    specs = [ExportSpec(opset=18), ExportSpec(opset=19)]
    with pytest.raises(UsageError, match="same format and precision"):
        export_all(mlp(), specs, example_inputs=ONE, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_parity_is_measured_on_calibration_data_or_on_the_examples_and_random_ones(tmp_path):
    exporter = Exporter(mlp(), example_inputs=ONE, calibration=loader(3))
    assert exporter.export(ExportSpec(), tmp_path / "a.onnx").parity.n_inputs == 24
    report = make(tmp_path / "b.onnx").parity
    assert report.n_inputs == 16
    assert report.conversion_max_relative < 1e-5
    assert report.quantization_max_abs is None


def test_int8_report_splits_the_error(twice):
    (artifacts, _), _ = twice
    report = artifacts[2].parity
    assert report.conversion_max_abs < 1e-5
    assert 1e-4 < report.quantization_max_abs < 0.2
    assert 0 < report.quantization_mean_abs < report.quantization_max_abs
    assert artifacts[1].parity.quantization_max_abs < report.quantization_max_abs


@pytest.mark.parametrize("opset", [15, 21])
def test_opset_is_the_one_asked_for(tmp_path, opset):
    artifact = make(tmp_path / "m.onnx", opset=opset)
    assert artifact.opset == opset
    assert onnx.load(artifact.path).opset_import[0].version == opset


def test_opset_that_cannot_hold_the_model_is_refused_naming_the_operator(tmp_path):
    normed = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)).eval()
    with pytest.raises(ExportError, match=r"operator set 9.*LayerNormalization|LayerNormalization.*operator set 9"):
        Exporter(normed, example_inputs=ONE).export(ExportSpec(opset=9), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="no ONNX operator set 99"):
        make(tmp_path / "m.onnx", opset=99)
    assert list(tmp_path.iterdir()) == []


def test_dynamic_batch_takes_any_number_of_examples(tmp_path):
    model = mlp().eval()
    x = torch.randn(7, 4)
    with torch.no_grad():
        expected = model(x).numpy()
    exporter = Exporter(model, example_inputs=ONE, calibration=loader())
    for precision, tolerance in (("fp32", 1e-5), ("int8", 0.3)):
        artifact = exporter.export(ExportSpec(precision=precision, dynamic_batch=True), tmp_path / f"{precision}.onnx")
        assert (artifact.inputs[0].shape, artifact.outputs[0].shape) == ((-1, 4), (-1, 3))
        session = onnxruntime.InferenceSession(artifact.path.read_bytes())
        assert np.abs(session.run(None, {"input_0": x.numpy()})[0] - expected).max() < tolerance
        assert np.abs(predict(artifact, [x.numpy()])[0] - expected).max() < tolerance


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_batch_size_of_the_examples_is_the_artifacts(tmp_path, suffix):
    model = mlp().eval()
    artifact = make(tmp_path / f"m.{suffix}", model, (torch.ones(3, 4),), precision="int8", calibration=loader())
    assert artifact.inputs[0].shape == (3, 4)
    x = torch.randn(10, 4)
    with torch.no_grad():
        expected = model(x).numpy()
    (actual,) = predict(artifact, [x.numpy()])
    assert actual.shape == (10, 3)
    assert np.abs(actual - expected).max() < 0.3


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_integer_inputs_are_taken(tmp_path, suffix):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), nn.Linear(24, 2)).eval()
    tokens = torch.tensor([[1, 9, 4]])
    artifact = make(tmp_path / f"m.{suffix}", model, (tokens,))
    with torch.no_grad():
        expected = model(tokens).numpy()
    assert np.abs(predict(artifact, [tokens.numpy()])[0] - expected).max() < 1e-5


def test_channels_that_are_always_zero_are_quantized(tmp_path):
    model = mlp().eval()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    for suffix in ("onnx", "tflite"):
        report = make(tmp_path / f"m.{suffix}", model, precision="int8", calibration=loader()).parity
        assert report.quantization_max_abs < 0.05


def test_progress_is_told_step_by_step(tmp_path):
    events = []
    make(tmp_path / "m.onnx", listener=events.append)
    assert [(event.stage, event.subject, event.done, event.total) for event in events] == [
        ("export", "m.onnx", done, 4) for done in range(5)
    ]
    assert [event.message for event in events] == ["convert", "quantize", "check", "write", ""]


def test_failed_export_keeps_the_old_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ExportError):
        make(path, Unsupported())
    assert path.read_bytes() == b"old"


class Unsupported(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Guarded(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Restless(nn.Module):
    """A constant that differs with every call: what a converter bakes in is never what torch gives."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.calls


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize(("model", "words"), [(Unsupported(), "bessel_j0"), (Guarded(), "data-dependent")])
def test_unsupported_model_is_refused_in_one_line_and_leaves_nothing(tmp_path, suffix, model, words):
    with pytest.raises(ExportError, match=words) as caught:
        make(tmp_path / f"m.{suffix}", model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []


def test_artifact_that_left_its_model_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ExportError, match="does not agree with its model"):
        make(tmp_path / "m.onnx", Restless())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_weight_beyond_fp16_is_refused(tmp_path, suffix):
    model = mlp().eval()
    with torch.no_grad():
        model[4].weight[0, 0] = 1e6
    with pytest.raises(ExportError, match=r"fp16 ends at 65504|overflow fp16"):
        make(tmp_path / f"m.{suffix}", model, precision="fp16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize("before", [nn.ReLU(), nn.Identity()], ids=["of what is positive", "of anything"])
def test_a_padded_maximum_survives_int8(tmp_path, suffix, before):
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), before, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(36, 3))
    data = [(torch.randn(16, 1, 8, 8), torch.zeros(16)) for _ in range(2)]
    model, inputs = nn.Sequential(*layers), (torch.zeros(1, 1, 8, 8),)
    artifact = make(tmp_path / f"m.{suffix}", model, inputs, precision="int8", calibration=data)
    assert artifact.parity.whole_max_relative < 0.05


def test_int8_without_calibration_is_refused(tmp_path):
    with pytest.raises(UsageError, match="int8 needs calibration data"):
        make(tmp_path / "m.onnx", precision="int8")


def test_calibration_data_is_checked_before_anything_is_written(tmp_path):
    for bad in ([(torch.ones(2, 5), None)], [(torch.full((2, 4), float("nan")), None)], []):
        with pytest.raises(DataError):
            make(tmp_path / "m.onnx", precision="int8", calibration=bad)
    assert list(tmp_path.iterdir()) == []


def test_model_with_nan_weights_is_refused(tmp_path):
    model = mlp()
    with torch.no_grad():
        model[4].bias[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity in eval mode"):
        make(tmp_path / "m.onnx", model)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((torch.ones(1, 5),), r"does not run on inputs of shape \(1, 5\)"),
        ((), "no example inputs"),
        ((torch.tensor(1.0),), "batch dimension"),
        ((torch.ones(1, 4), torch.ones(2, 4)), r"batch sizes \[1, 2\]"),
    ],
)
def test_example_inputs_that_do_not_fit_are_refused(tmp_path, inputs, words):
    with pytest.raises(ModelError, match=words):
        make(tmp_path / "m.onnx", inputs=inputs)


def test_what_is_no_module_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is no torch"):
        make(tmp_path / "m.onnx", model="resnet")


def test_output_that_is_no_tensor_is_refused(tmp_path):
    class Wordy(nn.Module):
        def forward(self, x):
            return "result"

    with pytest.raises(ModelError, match="returned a str"):
        make(tmp_path / "m.onnx", Wordy())


@pytest.mark.parametrize("names", [("a", "b"), ("",), ("output_0",)])
def test_input_names_that_do_not_fit_are_refused(tmp_path, names):
    with pytest.raises(UsageError, match="do not fit 1 input"):
        make(tmp_path / "m.onnx", input_names=names)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opset": 18}, "no operator set"),
        ({"dynamic_batch": True}, "fixed batch"),
        ({"input_names": ("a b",)}, "'a b'"),
    ],
)
def test_what_tflite_cannot_have_is_refused(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        make(tmp_path / "m.tflite", **options)


def test_suffix_of_another_format_is_refused(tmp_path):
    for name, error in (("m.tflite", UsageError), ("m.pt", ArtifactError)):
        with pytest.raises(error, match="onnx"):
            export(mlp(), ExportSpec(), example_inputs=ONE, path=tmp_path / name)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("litert_torch", "litert-torch"),
        ("ai_edge_litert.interpreter", "ai-edge-litert"),
        ("ai_edge_quantizer", "ai-edge-quantizer"),
    ],
)
def test_missing_tflite_extra_is_named_with_its_pip_line(tmp_path, monkeypatch, module, package):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtra, match=rf"'{package}' is not installed.*pip install 'edgeprune\[tflite\]'"):
        make(tmp_path / "m.tflite", precision="int8", calibration=loader())


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        make(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_path_inside_a_file_is_refused_before_converting(tmp_path, monkeypatch):
    monkeypatch.setattr(OnnxConverter, "convert", None)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="its folder is a file"):
        make(tmp_path / "file" / "m.onnx")
