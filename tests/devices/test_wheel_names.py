"""Wheels fit a Python by its interpreter and C library, not by what the kernel says."""

import pytest

from edgeprune.devices.wheel_names import fits, is_wheel_name, read_target
from edgeprune.errors import DeviceError

PI = ("cpython-311-aarch64-linux-gnu", "glibc 2.36")
JETPACK_4 = ("cpython-36m-aarch64-linux-gnu", "glibc 2.27")
PI_32 = ("cpython-39-arm-linux-gnueabihf", "glibc 2.31")
PC = ("cpython-312-x86_64-linux-gnu", "glibc 2.39")
ALPINE = ("cpython-312-x86_64-linux-musl", "")


@pytest.mark.parametrize(
    ("facts", "wheel", "expected"),
    [
        (PI, "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl", True),
        (PI, "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl", False),
        (PI, "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        (PI, "numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", True),
        (PI, "protobuf-7.36.2-cp310-abi3-manylinux2014_aarch64.whl", True),
        (PI, "protobuf-7.36.2-cp312-abi3-manylinux2014_aarch64.whl", False),
        (PI, "new-1.0-cp311-cp311-manylinux_2_37_aarch64.whl", False),
        (PI, "flatbuffers-25.12.19-py2.py3-none-any.whl", True),
        (PI, "packaging-26.3-py3-none-any.whl", True),
        (PI, "later-1.0-py312-none-any.whl", False),
        (PI, "old-1.0-py2-none-any.whl", False),
        (PI, "vendor_gpu-1.16.0-1-cp311-cp311-linux_aarch64.whl", True),
        (JETPACK_4, "onnxruntime-1.10.0-cp36-cp36m-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", True),
        (JETPACK_4, "onnxruntime-1.10.0-cp36-cp36-manylinux_2_17_aarch64.whl", False),
        (JETPACK_4, "x-1.0-cp36-cp36m-manylinux_2_28_aarch64.whl", False),
        (PI_32, "tflite_runtime-2.14.0-cp39-cp39-manylinux_2_31_armv7l.whl", True),
        (PI_32, "numpy-1.0-cp39-cp39-manylinux2014_aarch64.whl", False),
        (PC, "x-1.0-cp312-cp312-manylinux1_x86_64.whl", True),
        (ALPINE, "x-1.0-cp312-cp312-musllinux_1_2_x86_64.whl", True),
        (ALPINE, "x-1.0-cp312-cp312-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_a_wheel_fits_or_not(facts, wheel, expected):
    assert is_wheel_name(wheel)
    assert fits(wheel, read_target(*facts)) is expected


@pytest.mark.parametrize(
    "soabi",
    ["", "cpython-312", "cpython-312-aarch64-linux-android", "pypy39-pp73-x86_64-linux-gnu", "cpython-311-darwin"],
)
def test_a_python_without_wheels_is_said_so(soabi):
    with pytest.raises(DeviceError, match="No wheels are known"):
        read_target(soabi, "")


@pytest.mark.parametrize(
    "name",
    [
        "x.whl",
        "x-1.0.whl",
        "../x-1.0-py3-none-any.whl",
        "x-1.0-py3-none-any.zip",
        "x;y-1.0-py3-none-any.whl",
        "-x-1.0-py3-none-any.whl",
    ],
)
def test_what_is_no_name_of_a_wheel(name):
    assert not is_wheel_name(name)
    assert not fits(name, read_target(*PI))
