"""The report's figures, worked out by hand on models small enough for that."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.errors import ExportError, ModelError
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.exporting.parity import MAX_CONVERSION_RELATIVE, Reference, check_conversion, compare


def reference(model=None, inputs=None, batch_size=2):
    """Outputs [[1, 2], [3, 4], [8, 5]] for the identity."""
    inputs = np.array([[1, 2], [3, 4], [8, 5]], np.float32) if inputs is None else inputs
    return Reference(FlatModel(model or nn.Identity(), (torch.zeros(batch_size, *inputs.shape[1:]),)), [inputs])


def shifted(by, start=0):
    return lambda batch: [batch[0] + np.float32(by) * (np.arange(batch[0].shape[1]) >= start)]


def test_conversion_error_is_the_distance_from_torch_to_the_float_file():
    report = compare(reference(), shifted(0.5), None)
    assert report.n_inputs == 3
    assert report.conversion_max_abs == 0.5
    assert report.conversion_max_relative == 0.5 / 8
    assert report.quantization_max_abs is None
    assert report.quantization_mean_abs is None


def test_quantization_error_is_the_distance_from_float_file_to_int8_file():
    report = compare(reference(), shifted(0.5), shifted(0.75, start=1))
    assert report.conversion_max_abs == 0.5
    assert report.quantization_max_abs == 0.5
    assert report.quantization_mean_abs == (0.5 + 0.25) / 2


def test_top1_agreement_is_measured_between_torch_and_the_final_file():
    report = compare(reference(), shifted(0), shifted(-2, start=1))
    assert report.top1_agreement_ratio == 1 / 3


def test_fill_of_the_last_batch_does_not_count_for_top1():
    inputs = np.array([[0, 1], [0, 1], [0, 1], [9, 0], [9, 0]], np.float32)
    report = compare(reference(inputs=inputs, batch_size=4), shifted(0), shifted(5, start=1))
    assert report.top1_agreement_ratio == 1.0
    report = compare(reference(inputs=inputs, batch_size=4), shifted(0), shifted(-5, start=1))
    assert report.top1_agreement_ratio == 2 / 5


def test_top1_of_a_dense_output_is_taken_at_each_position():
    inputs = np.zeros((1, 2, 3), np.float32)
    inputs[0, 1] = [1, 1, -1]
    report = compare(reference(inputs=inputs, batch_size=1), list, lambda batch: [0 * batch[0]])
    assert report.top1_agreement_ratio == 1 / 3


def test_output_without_classes_has_no_agreement():
    report = compare(reference(inputs=np.ones((3, 1), np.float32)), shifted(0), None)
    assert report.top1_agreement_ratio is None


def test_relative_error_is_of_the_worst_output_not_of_the_largest():
    class Two(nn.Module):
        def forward(self, x):
            return x * 100, x

    report = compare(reference(Two()), lambda batch: [batch[0] * 100, batch[0] + np.float32(0.8)], None)
    assert report.conversion_max_relative == pytest.approx(0.1)


def test_model_runs_once_for_all_artifacts_of_it():
    model = FlatModel(nn.Identity(), (torch.zeros(1, 2),))
    calls = []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    shared = Reference(model, [np.zeros((5, 2), np.float32)])
    compare(shared, shifted(0), None)
    compare(shared, shifted(0), shifted(0))
    assert len(calls) == 5


def test_large_outputs_are_not_kept(monkeypatch):
    monkeypatch.setattr("edgeprune.exporting.parity.MAX_KEPT_BYTES", 10)
    model = FlatModel(nn.Identity(), (torch.zeros(1, 2),))
    calls = []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    shared = Reference(model, [np.zeros((5, 2), np.float32)])
    assert compare(shared, shifted(0), None) == compare(shared, shifted(0), None)
    assert len(calls) == 10


def test_conversion_error_above_the_bound_is_refused_with_its_figures():
    report = compare(reference(), shifted(0), None)
    check_conversion(dataclasses.replace(report, conversion_max_relative=MAX_CONVERSION_RELATIVE), "m.onnx")
    with pytest.raises(ExportError, match=r"m\.onnx .* by 0\.5, 0\.0625 of the largest; 0\.001 is allowed"):
        check_conversion(compare(reference(), shifted(0.5), None), "m.onnx")


def test_nan_of_an_artifact_is_refused():
    with pytest.raises(ExportError, match="Output 0 of the quantized model holds NaN"):
        compare(reference(), shifted(0), shifted(np.nan))


def test_nan_of_the_model_is_the_models():
    class Spoiled(nn.Module):
        def forward(self, x):
            return x.log() if x.sum() > 0 else x

    with pytest.raises(ModelError, match="Output 0 of the model holds NaN"):
        compare(reference(Spoiled(), np.array([[2, -1]], np.float32)), shifted(0), None)


def test_other_shapes_are_refused():
    with pytest.raises(ExportError, match=r"\[\(2, 1\)\], the torch model \[\(2, 2\)\]"):
        compare(reference(), lambda batch: [batch[0][:, :1]], None)
