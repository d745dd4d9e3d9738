import json
import struct

import numpy as np
import pytest
from edgeprune_agent.tensors import (
    DTYPES,
    Tensor,
    TensorFileError,
    numbered,
    parse_tensors,
    read_tensors,
    write_tensors,
)
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load_file, save


def as_arrays(tensors):
    return {t.name: np.frombuffer(t.data, dtype=t.dtype).reshape(t.shape) for t in tensors}


kinds = st.sampled_from(sorted(DTYPES)).map(np.dtype)
named = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    kinds.flatmap(
        lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(named)
def test_what_safetensors_writes_is_read_unchanged(tensors):
    for name, array in as_arrays(parse_tensors(save(tensors))).items():
        np.testing.assert_array_equal(array, tensors[name], strict=True)


@given(named)
def test_what_is_written_safetensors_reads_unchanged(tmp_path_factory, tensors):
    path = str(tmp_path_factory.mktemp("tensors") / "file")
    write_tensors(path, [Tensor(name, str(a.dtype), a.shape, a.tobytes()) for name, a in tensors.items()])
    read = load_file(path)
    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


@given(st.binary(max_size=200))
@example(struct.pack("<Q", 2**63))
@example(struct.pack("<Q", 2) + b"[]")
@example(struct.pack("<Q", 4) + b"null")
def test_any_bytes_are_tensors_or_a_tensor_file_error(data):
    try:
        tensors = parse_tensors(data)
    except TensorFileError:
        return
    assert all(isinstance(name, str) for name in tensors)


def file_with(header, body=b"\0" * 8):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "F99"}, {"dtype": 5}, {"shape": [3]}, {"shape": [-2]}, {"shape": "2"}, {"shape": [True, 2]},
        {"shape": [2.0]}, {"data_offsets": [0, 16]}, {"data_offsets": [4, 8]}, {"data_offsets": [8, 0]},
        {"data_offsets": [0]}, {"data_offsets": None}, {"shape": [1] * 17},
    ],
    ids=str,
)  # fmt: skip
def test_a_lie_in_the_header_is_refused(change):
    assert len(parse_tensors(file_with({"t": ENTRY}))) == 1
    with pytest.raises(TensorFileError):
        parse_tensors(file_with({"t": dict(ENTRY, **change)}))


def test_tensors_that_overlap_or_leave_gaps_are_refused():
    with pytest.raises(TensorFileError, match="do not follow"):
        parse_tensors(file_with({"a": ENTRY, "b": ENTRY}))
    with pytest.raises(TensorFileError, match="belong to no tensor"):
        parse_tensors(file_with({"a": ENTRY}, b"\0" * 9))


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(save({"x": np.zeros(100, np.float32)}))
    with pytest.raises(TensorFileError, match="more than the 50 allowed"):
        read_tensors(str(path), limit_bytes=50)


def test_numbered_tensors_come_in_the_order_of_their_numbers():
    tensors = [Tensor(f"input_{n}", "int8", (1,), b"\0") for n in (10, 2, *range(2), *range(3, 10))]
    other = Tensor("output_0", "int8", (1,), b"\0")
    assert [t.name for t in numbered([*tensors, other], "input")] == [f"input_{n}" for n in range(11)]


def test_a_missing_number_is_refused():
    with pytest.raises(TensorFileError, match="without gaps"):
        numbered([Tensor("input_1", "int8", (1,), b"\0")], "input")


def test_writing_bytes_that_do_not_fit_the_shape_is_refused(tmp_path):
    with pytest.raises(TensorFileError, match="3 bytes for shape"):
        write_tensors(str(tmp_path / "file"), [Tensor("x", "int8", (4,), b"abc")])
    assert not list(tmp_path.iterdir())
