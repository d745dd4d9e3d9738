import dataclasses
import importlib
import subprocess
import sys
from types import SimpleNamespace

import board_models
import numpy as np
import pytest
import torch

from edgeprune.errors import DataError, ModelError, UnknownName
from edgeprune.measuring import evaluate, infer, inference, score
from edgeprune.values.device import RuntimeInfo

X = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
Y = X @ board_models.weights()


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return board_models.artifact(board_models.linear(tmp_path_factory.mktemp("models") / "linear.onnx"))


def loader(targets=None, kind=np.asarray):
    targets = Y.argmax(1) if targets is None else targets
    return [(kind(X[:6]), kind(targets[:6])), (kind(X[6:]), kind(targets[6:]))]


class TestOnTheTrueAgent:
    def test_outputs_are_those_of_the_model(self, session, linear):
        np.testing.assert_allclose(infer(session, linear, [X])[0], Y, rtol=1e-5)

    def test_equal_inputs_are_sent_once(self, session, linear):
        sent = []
        session._listener = lambda event: sent.append((event.subject, event.done, event.total))
        try:
            infer(session, linear, [X + 1])
            first = len(sent)
            infer(session, linear, [X + 1])
        finally:
            session._listener = lambda event: None
        assert first > len(sent) - first == 2  # one "it is there" each for model and inputs

    def test_many_examples_are_sent_in_portions(self, session, linear, monkeypatch):
        monkeypatch.setattr(inference, "_PORTION_BYTES", 100)  # 3 rows of 16 + 16 bytes
        runs = []
        original = session.run
        monkeypatch.setattr(session, "run", lambda *a: runs.append(1) or original(*a))
        np.testing.assert_allclose(infer(session, linear, [X])[0], Y, rtol=1e-5)
        assert len(runs) == 4

    def test_accuracy_on_the_board_is_counted(self, session, linear):
        wrong = Y.argmax(1).copy()
        wrong[:3] = (wrong[:3] + 1) % 4
        assert evaluate(session, linear, loader(wrong)) == pytest.approx(0.7)

    def test_a_tflite_model_of_batch_one_is_evaluated_too(self, session):
        artifact = board_models.artifact(board_models.TFLITE)
        outputs = infer(session, artifact, [X])[0]
        assert outputs.shape == (10, 3)
        assert (outputs >= 0).all()
        assert evaluate(session, artifact, [(X, outputs.argmax(1))]) == 1.0

    def test_outputs_that_are_nan_are_a_model_error(self, session, tmp_path):
        artifact = board_models.artifact(board_models.square_root(tmp_path / "root.onnx"))
        with pytest.raises(ModelError, match=r"root\.onnx on .* gives NaN"):
            evaluate(session, artifact, loader())

    def test_an_output_without_a_row_per_example_is_a_model_error(self, session, tmp_path):
        artifact = board_models.artifact(board_models.total(tmp_path / "total.onnx"))
        with pytest.raises(ModelError, match=r"total\.onnx"):
            infer(session, artifact, [X])


def compute(inputs):
    return [inputs[0] @ board_models.weights()]


def test_torch_and_numpy_and_a_generator_score_alike():
    assert score(compute, loader()) == 1.0
    assert score(compute, loader(kind=torch.from_numpy)) == 1.0
    assert score(compute, iter(loader())) == 1.0


def test_a_metric_gets_predictions_batch_by_batch_from_one_computation():
    calls = []

    def counted(inputs):
        calls.append(len(inputs[0]))
        return compute(inputs)

    def metric(predict, loader):
        for inputs, _ in loader:
            np.testing.assert_allclose(predict(inputs), inputs @ board_models.weights(), rtol=1e-5)
            np.testing.assert_allclose(predict(inputs[1:2]), inputs[1:2] @ board_models.weights(), rtol=1e-5)
        return 3

    assert score(counted, loader(), metric) == 3.0
    assert calls == [10]


def test_a_metric_written_for_torch_gets_torch():
    def metric(predict, loader):
        hits = [(predict(inputs).argmax(dim=1) == targets).float().mean() for inputs, targets in loader]
        return torch.stack(hits).mean()

    assert score(compute, loader(kind=torch.from_numpy), metric) == 1.0


def test_a_metric_that_changes_its_inputs_gets_the_outputs_of_those():
    def metric(predict, loader):
        inputs, _ = next(iter(loader))
        np.testing.assert_allclose(predict(2 * inputs), 2 * inputs @ board_models.weights(), rtol=1e-5)
        return 1.0

    assert score(compute, loader(), metric) == 1.0


def test_several_inputs_and_outputs_come_as_tuples():
    def both(inputs):
        return [inputs[0] + inputs[1], inputs[0] - inputs[1]]

    def metric(predict, loader):
        for inputs, _ in loader:
            total, difference = predict(inputs)
            np.testing.assert_array_equal(total, inputs[0] + inputs[1])
            np.testing.assert_array_equal(difference, predict(*inputs)[1])
        return 1

    assert score(both, [((X, 2 * X), None)], metric) == 1.0


@pytest.mark.parametrize(
    "pairs",
    [
        [], [X], [(X,)], [(X, Y.argmax(1)[:3])], [(X, Y)], [(X, Y.argmax(1).astype(float))], [(X[:0], Y.argmax(1)[:0])],
        [(X, Y.argmax(1)), (X[:, :2], Y.argmax(1))], [((X, X[:2]), Y.argmax(1))],
        [((X, X), Y.argmax(1)), (X, Y.argmax(1))],
    ],
    ids=["nothing", "no pair", "no targets", "few targets", "no classes", "float targets", "no examples",
         "two shapes", "two lengths", "two counts"],
)  # fmt: skip
def test_a_loader_that_gives_what_does_not_fit_is_a_data_error(pairs):
    with pytest.raises(DataError) as caught:
        score(compute, pairs)
    assert caught.value.next_step


@pytest.mark.parametrize("value", [None, "high", float("nan"), float("inf"), [1, 2], np.zeros(3)], ids=str)
def test_a_metric_that_gives_no_number_is_a_data_error(value):
    with pytest.raises(DataError, match="my_metric returned"):

        def my_metric(predict, loader):
            return value

        score(compute, loader(), my_metric)


def test_an_unknown_metric_is_named():
    with pytest.raises(UnknownName, match="accurracy"):
        score(compute, loader(), "accurracy")


class NoBoard:
    """A board to which nothing must be sent."""

    info = SimpleNamespace(runtime=lambda name: RuntimeInfo(name, "1"))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "takes 1 inputs, 0 were given"), ([X, X], "2 were given"), ([X[:, :3]], r"\[10, 3\]"), ([X[0]], r"\[4\]"),
        ([X.astype(complex)], "complex"), ([np.zeros((0, 4), np.float32)], "no examples"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused_before_anything_is_sent(linear, inputs, said):
    with pytest.raises(DataError, match=said):
        infer(NoBoard(), linear, inputs)


def test_inputs_are_cast_where_that_keeps_their_kind(linear):
    (array,) = inference.fit_inputs(linear, [X.astype(np.float64)])
    assert array.dtype == np.float32
    integers = dataclasses.replace(linear, inputs=(dataclasses.replace(linear.inputs[0], dtype="int8"),))
    with pytest.raises(DataError, match="float32"):
        inference.fit_inputs(integers, [X])


def test_measuring_imports_no_torch():
    script = "import sys, edgeprune.measuring; sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert importlib.import_module("edgeprune.measuring").score is score
