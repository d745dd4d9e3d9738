"""Layers that stay float so that a floor holds, and artifacts that miss theirs."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeprune.errors import ExportError
from edgeprune.exporting import Exporter, load_artifact, predict
from edgeprune.exporting.mixed import fewest, shortfall
from edgeprune.exporting.reducer import layered
from edgeprune.values.artifact import ParityReport
from edgeprune.values.spec import ExportSpec

OUTLIER = 3000.0
REPORT = ParityReport(100, 0.0, 0.0, 1.0, 0.1, 0.95, 0.0, 0.2)


@pytest.fixture(scope="module")
def fragile():
    """A network whose middle layer gives one channel 3000 times as large as the others: int8 loses those."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    with torch.no_grad():
        model[2].weight[0] *= OUTLIER
        model[2].bias[0] = OUTLIER
        model[4].weight[:, 0] /= OUTLIER
    generator = torch.Generator().manual_seed(1)
    rows = [(torch.randn(64, 8, generator=generator), None) for _ in range(4)]
    return Exporter(model, example_inputs=(torch.zeros(1, 8),), calibration=rows), rows, model


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_mixed_precision_reaches_the_floor_that_int8_misses(fragile, tmp_path, suffix):
    exporter, rows, model = fragile
    plain = exporter.export(ExportSpec(suffix, "int8"), tmp_path / f"int8.{suffix}")
    assert plain.parity.top1_agreement_ratio < 0.98
    mixed = exporter.export(ExportSpec(suffix, "int8-mixed", min_agreement_ratio=0.98), tmp_path / f"mixed.{suffix}")
    assert mixed.parity.top1_agreement_ratio >= 0.98
    assert 1 <= len(mixed.float_layers) < 3
    inputs = torch.cat([x for x, _ in rows])
    with torch.no_grad():
        expected = model(inputs).numpy().argmax(1)
    assert (predict(mixed, [inputs.numpy()])[0].argmax(1) == expected).mean() >= 0.98


def test_layers_that_suit_int8_stay_in_int8(fragile, tmp_path):
    exporter, _, _ = fragile
    artifact = exporter.export(ExportSpec(precision="int8-mixed", min_agreement_ratio=0.98), tmp_path / "m.onnx")
    weights = [t.data_type for t in onnx.load(artifact.path).graph.initializer if len(t.dims) == 2]
    assert sorted(weights).count(onnx.TensorProto.INT8) == 3 - len(artifact.float_layers)
    assert load_artifact(artifact.path).precision == "int8-mixed"


def test_network_that_suits_int8_keeps_no_layer_in_float(digit_exporter, tmp_path):
    artifact = digit_exporter.export(ExportSpec(precision="int8-mixed", min_agreement_ratio=0.97), tmp_path / "m.onnx")
    assert artifact.float_layers == ()
    assert artifact.precision == "int8-mixed"


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_artifact_below_its_floor_is_refused_naming_the_worst_layer(fragile, tmp_path, suffix):
    exporter, _, _ = fragile
    words = r"misses its floor: .*of 256 inputs, 98\.00% is asked; the layer that costs most is \S+"
    with pytest.raises(ExportError, match=words) as caught:
        exporter.export(ExportSpec(suffix, "int8", min_agreement_ratio=0.98), tmp_path / f"m.{suffix}")
    assert "int8-mixed" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_error_bound_is_a_floor_too(fragile, tmp_path):
    exporter, _, _ = fragile
    with pytest.raises(ExportError, match=r"off by .*5\.00% is allowed"):
        exporter.export(ExportSpec(precision="int8", max_error_ratio=0.05), tmp_path / "m.onnx")
    artifact = exporter.export(ExportSpec(precision="int8-mixed", max_error_ratio=0.05), tmp_path / "m.onnx")
    assert artifact.parity.whole_max_relative <= 0.05


def test_parity_is_told_on_random_inputs_too(fragile, tmp_path):
    exporter, _, _ = fragile
    report = exporter.export(ExportSpec(), tmp_path / "m.onnx").parity
    assert report.random.n_inputs == 15
    assert 0 <= report.conversion_mean_abs <= report.conversion_max_abs
    assert report.random.conversion_max_relative < 1e-5


def test_network_that_is_undefined_on_noise_has_no_figures_there(tmp_path):
    class Logarithm(nn.Module):
        def forward(self, x):
            return x.log()

    rows = [(torch.rand(16, 4) + 0.5, None)]
    exporter = Exporter(Logarithm(), example_inputs=(torch.ones(1, 4),), calibration=rows)
    noise = np.random.default_rng(0).normal(1.0, 0.3, 60)
    assert exporter.export(ExportSpec(), tmp_path / "m.onnx").parity.random is None or noise.min() > 0


def test_fewest_is_the_shortest_beginning_that_holds():
    order = list("abcdefg")
    for needed in range(8):
        tried = []

        def holds(kept, needed=needed, tried=tried):
            tried.append(len(kept))
            return len(kept) >= needed

        assert fewest(order, holds) == order[:needed]
        assert len(tried) <= 3


def test_shortfall_speaks_of_what_was_asked_only():
    assert shortfall(REPORT, ExportSpec()) == ""
    assert "95.00% of 100" in shortfall(REPORT, ExportSpec(min_agreement_ratio=0.96))
    assert "20.00%" in shortfall(REPORT, ExportSpec(max_error_ratio=0.1))
    no_classes = dataclasses.replace(REPORT, top1_agreement_ratio=None)
    assert shortfall(no_classes, ExportSpec(min_agreement_ratio=0.96)) == ""


def test_layer_is_an_operator_with_weights_and_what_follows_it():
    operators = [("in", False), ("conv", True), ("relu", False), ("gemm", True), ("softmax", False)]
    assert layered(operators) == {"conv": ["in", "conv", "relu"], "gemm": ["gemm", "softmax"]}
    assert layered([("relu", False)]) == {"relu": ["relu"]}
    assert layered([]) == {}
