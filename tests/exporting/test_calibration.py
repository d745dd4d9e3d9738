import numpy as np
import pytest
import torch

from edgeprune.errors import DataError
from edgeprune.exporting.calibration import CalibrationData, random_like

EXAMPLES = [np.zeros((1, 3), np.float32)]


def loader(*batches):
    return [(batch, None) for batch in batches]


def test_batches_are_joined_along_the_examples():
    data = CalibrationData(loader(torch.ones(2, 3), torch.zeros(4, 3)), EXAMPLES)
    (joined,) = data.take(8)
    assert joined.shape == (6, 3)
    assert joined.sum() == 6


def test_no_more_batches_are_read_than_asked_for_and_each_once():
    read = []

    def stream():
        for index in range(10):
            read.append(index)
            yield torch.full((1, 3), float(index)), None

    data = CalibrationData(stream(), EXAMPLES)
    assert data.take(2)[0][:, 0].tolist() == [0, 1]
    assert read == [0, 1]
    assert data.take(4)[0][:, 0].tolist() == [0, 1, 2, 3]
    assert data.take(2)[0][:, 0].tolist() == [0, 1]
    assert read == [0, 1, 2, 3]


def test_empty_loader_is_refused():
    with pytest.raises(DataError, match="yielded nothing"):
        CalibrationData([], EXAMPLES).take(2)


def test_wrong_shape_is_refused_with_both_shapes():
    with pytest.raises(DataError, match=r"Input 0 of calibration batch 1 is float32 \(2, 4\).*float32 \('N', 3\)"):
        CalibrationData(loader(torch.ones(2, 3), torch.ones(2, 4)), EXAMPLES).take(2)


def test_wrong_type_is_refused():
    with pytest.raises(DataError, match=r"uint8 \(2, 3\).*float32"):
        CalibrationData(loader(torch.ones(2, 3, dtype=torch.uint8)), EXAMPLES).take(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(DataError, match="Input 0 of calibration batch 0 holds NaN or infinity"):
        CalibrationData(loader(torch.tensor([[1.0, value, 0.0]])), EXAMPLES).take(1)


def test_wrong_number_of_inputs_is_refused():
    with pytest.raises(DataError, match="holds 2 inputs, the model takes 1"):
        CalibrationData(loader((torch.ones(2, 3), torch.ones(2, 3))), EXAMPLES).take(1)


def test_batch_that_is_no_pair_is_refused():
    with pytest.raises(DataError, match="pair"):
        CalibrationData([torch.ones(2, 3)], EXAMPLES).take(1)


def test_bad_batch_is_refused_again_when_asked_again():
    data = CalibrationData(loader(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 3)), EXAMPLES)
    for _ in range(2):
        with pytest.raises(DataError, match="calibration batch 1"):
            data.take(3)


def test_random_inputs_repeat_and_stay_in_range():
    examples = [np.full((2, 3), 5.0, np.float32), np.array([[3], [7]]), np.array([[True], [False]])]
    floats, integers, booleans = first = random_like(examples)
    assert all(np.array_equal(a, b) for a, b in zip(first, random_like(examples), strict=True))
    assert floats.shape == (30, 3)
    assert floats.dtype == np.float32
    assert abs(floats.mean() - 5) < 0.5
    assert floats.std() > 0.5
    assert integers.min() == 3
    assert integers.max() == 7
    assert booleans.dtype == bool
