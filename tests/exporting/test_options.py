"""The ways to quantize, and what the ends of a file look like."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.errors import DataError, UnknownName, UsageError
from edgeprune.exporting import Exporter, load_artifact, predict
from edgeprune.values.json import content_id
from edgeprune.values.spec import ExportSpec


class TokensAndMask(nn.Module):
    """An integer input, a bool input, and two outputs."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(10, 8), nn.Linear(8, 3)

    def forward(self, tokens, mask):
        summed = (self.table(tokens) * mask.unsqueeze(2).to(torch.float32)).sum(1)
        return self.head(summed), summed


@pytest.fixture(scope="module")
def unseen(digit_net, digits):
    inputs, _ = digits[1]
    with torch.no_grad():
        return inputs[:64].numpy(), digit_net(inputs[:64]).numpy()


def agreement(artifact, unseen):
    inputs, expected = unseen
    (actual,) = predict(artifact, [inputs])
    assert actual.dtype == np.float32
    return (actual.argmax(1) == expected.argmax(1)).mean()


@pytest.mark.parametrize("calibration", ["entropy", "percentile"])
def test_every_calibration_of_onnx_keeps_the_classes(digit_exporter, unseen, tmp_path, calibration, capsys):
    artifact = digit_exporter.export(ExportSpec(precision="int8", calibration=calibration), tmp_path / "m.onnx")
    assert agreement(artifact, unseen) >= 0.98
    assert capsys.readouterr().out == ""


def test_calibrations_find_other_ranges(digit_exporter, tmp_path):
    specs = [ExportSpec(precision="int8", calibration=name) for name in ("minmax", "percentile")]
    artifacts = [digit_exporter.export(spec, tmp_path / f"{spec.calibration}.onnx") for spec in specs]
    assert artifacts[0].sha256 != artifacts[1].sha256


def test_integer_ends_are_described_by_their_scales_and_take_floats_on_the_host(digit_exporter, unseen, tmp_path):
    artifact = digit_exporter.export(ExportSpec("tflite", "int8", integer_io=True), tmp_path / "m.tflite")
    for end in (*artifact.inputs, *artifact.outputs):
        assert end.dtype == "int8"
        assert end.scale > 0
    assert artifact.inputs[0].zero_point == -128  # pixels from 0 to 1
    assert agreement(artifact, unseen) >= 0.98
    assert load_artifact(artifact.path).inputs == artifact.inputs
    integers = np.full((1, 1, 8, 8), artifact.inputs[0].zero_point, np.int8)
    assert np.array_equal(predict(artifact, [integers])[0], predict(artifact, [np.zeros((1, 1, 8, 8), np.float32)])[0])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_channels_come_last_where_asked(digit_exporter, unseen, tmp_path, precision):
    artifact = digit_exporter.export(ExportSpec("tflite", precision, channels_last=True), tmp_path / "m.tflite")
    assert artifact.inputs[0].shape == (1, 8, 8, 1)
    assert artifact.parity.conversion_max_relative < 1e-4
    inputs, expected = unseen
    assert agreement(artifact, (inputs.transpose(0, 2, 3, 1), expected)) >= 0.98


def test_dynamic_int8_needs_no_calibration_data(tmp_path):
    exporter = Exporter(nn.Linear(8, 4), example_inputs=(torch.ones(1, 8),))
    report = exporter.export(ExportSpec(precision="int8-dynamic"), tmp_path / "m.onnx").parity
    assert 0 < report.quantization_max_abs < 0.1


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_integer_and_bool_inputs_beside_each_other(tmp_path, suffix):
    torch.manual_seed(0)
    model = TokensAndMask().eval()
    tokens, mask = torch.tensor([[1, 9, 4]]), torch.tensor([[True, False, True]])
    artifact = Exporter(model, example_inputs=(tokens, mask)).export(ExportSpec(suffix), tmp_path / f"m.{suffix}")
    assert [spec.dtype for spec in artifact.inputs][1] == "bool"
    many = torch.randint(0, 10, (7, 3)), torch.rand(7, 3) > 0.5
    with torch.no_grad():
        expected = [output.numpy() for output in model(*many)]
    for actual, wanted in zip(predict(artifact, [x.numpy() for x in many]), expected, strict=True):
        assert np.abs(actual - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "onnx", "integer_io": True}, "ONNX artifacts take float inputs"),
        ({"format": "onnx", "channels_last": True}, "channels first"),
        ({"format": "tflite", "integer_io": True}, "fp32 model takes and gives floats"),
        ({"format": "tflite", "precision": "int8", "calibration": "entropy"}, "no calibration by entropy"),
    ],
)
def test_what_a_format_cannot_have_is_refused(digit_exporter, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        digit_exporter.export(ExportSpec(**options), tmp_path / f"m.{options['format']}")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"precision": "int9"}, UnknownName),
        ({"calibration": "kl"}, UnknownName),
        ({"min_agreement_ratio": 1.5}, UsageError),
        ({"max_error_ratio": 0.0}, UsageError),
    ],
)
def test_spec_refuses_what_no_export_can_be(options, error):
    with pytest.raises(error):
        ExportSpec(**options)


def test_options_of_today_leave_the_ids_of_yesterdays_specs_as_they_were():
    before = {
        "format": "onnx", "precision": "int8", "opset": None, "input_names": [], "dynamic_batch": False,
        "calibration_batches": 8,
    }  # fmt: skip
    assert content_id(ExportSpec(precision="int8")) == content_id(before)
    assert content_id(ExportSpec(precision="int8", calibration="entropy")) != content_id(before)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_batches_of_another_shape_are_refused_by_their_number(tmp_path, suffix):
    batches = [(torch.ones(2, 4), None), (torch.ones(2, 5), None)]
    exporter = Exporter(nn.Linear(4, 2), example_inputs=(torch.ones(1, 4),), calibration=batches)
    with pytest.raises(DataError, match=r"calibration batch 1 is float32 \(2, 5\)"):
        exporter.export(ExportSpec(suffix, "int8"), tmp_path / f"m.{suffix}")
