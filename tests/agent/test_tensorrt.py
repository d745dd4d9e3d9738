"""TensorRT's runtime, driven through its documented Python interface and CUDA's C interface. No GPU was seen by these
tests: the module is a stand-in by whose names onnxruntime computes, and CUDA's library is one that copies in memory."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import board_models
import numpy as np
import pytest
from edgeprune_agent import runtimes
from edgeprune_agent.runtimes import Rejected, cuda, tensorrt

HERE = Path(__file__).parent / "fake_jetson"
VERSIONS = ("8.2.1", "10.3.0", "11.0.0")
X = np.float32([[1, -2, 3, 4]])


@pytest.fixture(scope="session")
def cudart(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler for the stand-in of CUDA's library")
    library = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "cudart.c"], check=True)
    return str(library)


@pytest.fixture(params=VERSIONS)
def fake(request, cudart, monkeypatch):
    """TensorRT of one version, freshly imported."""
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", request.param)
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(cuda, "_LIBRARIES", (cudart,))
    module = importlib.import_module("tensorrt")
    yield module
    sys.modules.pop("tensorrt", None)


@pytest.fixture
def path(tmp_path):
    return str(board_models.linear(tmp_path / "m.onnx"))


def test_it_describes_itself(fake):
    about = {"name": "tensorrt", "version": fake.__version__, "providers": ["GPU", "DLA"], "reason": ""}
    assert tensorrt.describe() == about


def test_it_says_why_it_cannot_be_used(fake, monkeypatch):
    monkeypatch.setattr(cuda, "_LIBRARIES", ("libnothing.so",))
    assert "no CUDA runtime" in tensorrt.describe()["reason"]
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "tensorrt" in tensorrt.describe()["reason"]


def test_outputs_are_the_models_own_and_each_call_gives_new_ones(fake, path):
    import onnxruntime

    model = tensorrt.open_model(path, 1)
    bound = model.bind([X])
    first, second = bound()[0], model.bind([2 * X])()[0]
    plain = onnxruntime.InferenceSession(path)
    np.testing.assert_allclose(first, plain.run(None, {"x": X})[0], rtol=1e-6)
    np.testing.assert_allclose(second, plain.run(None, {"x": 2 * X})[0], rtol=1e-6)
    assert model.providers == ["GPU"]


def test_open_dimensions_are_fixed_to_one(fake, path):
    model = tensorrt.open_model(path, 1)
    assert model.inputs == [{"name": "x", "shape": [1, 4], "dtype": "float32"}]
    assert model.outputs[0]["shape"][0] == 1
    assert fake.built[-1]["shapes"] == {"x": [1, 4]}


def test_several_inputs_of_other_types(fake, tmp_path):
    model = tensorrt.open_model(str(board_models.two_in_two_out(tmp_path / "m.onnx")), 1)
    assert [spec["dtype"] for spec in model.inputs] == ["float32", "int64"]
    arrays = [np.ones(spec["shape"], spec["dtype"]) for spec in model.inputs]
    assert [list(array.shape) for array in model.run(arrays)] == [spec["shape"] for spec in model.outputs]


def test_an_engine_is_built_once_for_a_model_a_gpu_and_a_version(fake, path, tmp_path):
    folder = tmp_path / "engines" / "MAXN"
    for _ in range(2):
        tensorrt.open_model(path, 1, engines=str(folder)).run([X])
    (engine,) = folder.iterdir()
    assert len(fake.built) == 1
    assert engine.name.endswith(f"-{fake.__version__}-sm87-8-gpu.engine")


def test_an_engine_that_tensorrt_refuses_is_built_again(fake, path, tmp_path):
    tensorrt.open_model(path, 1, engines=str(tmp_path / "e"))
    (engine,) = (tmp_path / "e").iterdir()
    whole = engine.read_bytes()
    engine.write_bytes(b"half of one")
    tensorrt.open_model(path, 1, engines=str(tmp_path / "e"))
    assert engine.read_bytes() == whole
    assert [each.name for each in (tmp_path / "e").iterdir()] == [engine.name]


def test_no_precision_is_lowered_that_the_file_does_not_hold(fake, path):
    tensorrt.open_model(path, 1)
    assert fake.built[-1]["flags"] == []


def test_the_dla_leaves_layers_to_the_gpu_unless_strict(fake, path):
    assert tensorrt.open_model(path, 1, "dla").providers == ["DLA"]
    assert fake.built[-1]["device"] == "DLA"
    assert fake.built[-1]["flags"] == ["GPU_FALLBACK"]
    tensorrt.open_model(path, 1, "DLA", strict=True)
    assert fake.built[-1]["flags"] == []


def test_a_provider_that_it_has_not_is_refused(fake, path):
    with pytest.raises(Rejected, match="no provider CUDA, only GPU, DLA"):
        tensorrt.open_model(path, 1, "CUDA")


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_is_no_model_is_rejected(fake, tmp_path, content):
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(Rejected):
        tensorrt.open_model(str(bad), 1)


def test_layers_have_their_median_times(fake, path):
    rows = tensorrt.profile(path, 3, lambda specs: [X], threads=1)
    assert rows == [
        {"name": "layer 0", "op": "", "provider": "GPU", "ns": 250_000},
        {"name": "layer 1", "op": "", "provider": "GPU", "ns": 500_000},
    ]


def test_what_cuda_says_is_told(fake):
    with pytest.raises(cuda.CudaError, match="cudaMalloc: out of memory"):
        cuda.Buffer(cuda.Cuda(), 1 << 40)


def test_a_board_without_it_says_nothing_of_it(root, monkeypatch):
    from edgeprune_agent.boards import _known_runtimes

    about = {"name": "", "version": None, "providers": [], "reason": "not now"}
    monkeypatch.setattr(runtimes, "probe", lambda name, python: {**about, "name": name})
    assert [each["name"] for each in _known_runtimes(root)] == ["onnxruntime", "litert"]
    package = Path(root, "venv", "lib", "python3.99", "site-packages", "tensorrt")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert [each["name"] for each in _known_runtimes(root)] == ["onnxruntime", "litert", "tensorrt"]
